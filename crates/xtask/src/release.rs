//! The binary as it is released: built once so that it counts what it does, put through the loads
//! of the bench, and built again by what was counted.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::bench;

/// Build the binary as it is released: by a profile of what it does under load
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  cargo xtask release                  target/released/lockgate; about 20 minutes on two cores
  cargo xtask bench --binary target/released/lockgate
Needs llvm-profdata, and what makes the load:
  rustup component add llvm-tools      or a recent llvm from the system's packages
  apt-get install wrk nghttp2-client util-linux openssl")]
pub(crate) struct Release {
    /// Seconds of each load that the profile is made of
    #[arg(long, default_value_t = 3)]
    seconds: u64,
}

impl Release {
    pub(crate) fn run(&self, root: &Path) -> Result<()> {
        bench::tools()?;
        let rust = Rust::here()?;
        let profdata = rust.profdata()?;
        let dir = root.join("target/profile");
        let counts = dir.join("counts");
        let _ = fs::remove_dir_all(&counts);
        fs::create_dir_all(&counts)?;

        println!("== 1 of 4: a binary that counts");
        let counting =
            rust.build(root, &dir.join("counting"), &flag("-Cprofile-generate=", &counts))?;
        println!("== 2 of 4: what it does under load");
        bench::train(&counting, &dir.join("load"), Duration::from_secs(self.seconds))?;
        println!("== 3 of 4: the profile");
        let profile = dir.join("lockgate.profdata");
        let merged = Command::new(&profdata)
            .args(["merge", "-o"])
            .args([&profile, &counts])
            .status()
            .with_context(|| format!("running {}", profdata.display()))?;
        if !merged.success() {
            bail!(
                "{} cannot read what rustc's LLVM {} wrote: install one that is as new \
                 (`rustup component add llvm-tools`)",
                profdata.display(),
                rust.llvm
            );
        }
        println!("== 4 of 4: the binary");
        // Cargo does not see that the profile is another one.
        let target = dir.join("released");
        let _ = fs::remove_dir_all(&target);
        let built = rust.build(root, &target, &flag("-Cprofile-use=", &profile))?;
        let released = root.join("target/released/lockgate");
        fs::create_dir_all(root.join("target/released"))?;
        fs::copy(&built, &released)?;
        let size = fs::metadata(&released)?.len() as f64 / 1e6;
        println!("\n{}: {size:.1} MB", released.display());
        Ok(())
    }
}

fn flag(begin: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(begin);
    flag.push(path);
    flag
}

/// The compiler that is used here.
struct Rust {
    host: String,
    llvm: String,
    sysroot: PathBuf,
}

impl Rust {
    fn here() -> Result<Self> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let ask = |arguments: &[&str]| -> Result<String> {
            let output = Command::new(&rustc).args(arguments).output().context("running rustc")?;
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        let version = ask(&["-vV"])?;
        let line = |begin: &str| {
            let line = version.lines().find_map(|line| line.strip_prefix(begin));
            line.map(str::to_owned).with_context(|| format!("rustc -vV says no `{begin}`"))
        };
        Ok(Self {
            host: line("host: ")?,
            llvm: line("LLVM version: ")?,
            sysroot: ask(&["--print", "sysroot"])?.into(),
        })
    }

    /// rustup's own, or the newest of the system's that has the version in its name.
    fn profdata(&self) -> Result<PathBuf> {
        let own = self.sysroot.join("lib/rustlib").join(&self.host).join("bin/llvm-profdata");
        if own.is_file() {
            return Ok(own);
        }
        let major: u32 = self.llvm.split('.').next().unwrap_or_default().parse().unwrap_or(0);
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Older ones write what no newer compiler reads.
        let names = (19..=major).rev().map(|version| format!("llvm-profdata-{version}"));
        let places = names.flat_map(|name| {
            std::env::split_paths(&path).map(move |dir| dir.join(&name)).collect::<Vec<_>>()
        });
        places.into_iter().find(|place| place.is_file()).with_context(|| {
            format!(
                "there is no llvm-profdata for LLVM {}: `rustup component add llvm-tools`, or \
                 `apt-get install llvm-19` or newer",
                self.llvm
            )
        })
    }

    /// Build scripts are built without the flag, as the target is named.
    fn build(&self, root: &Path, target: &Path, flag: &OsString) -> Result<PathBuf> {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--release", "--locked", "-p", "lockgate", "--target", &self.host])
            .arg("--target-dir")
            .arg(target)
            .env("CARGO_ENCODED_RUSTFLAGS", flag)
            .current_dir(root)
            .status()?;
        if !status.success() {
            bail!("the build failed");
        }
        Ok(target.join(&self.host).join("release/lockgate"))
    }
}
