//! The examples of the manual load, and mean what it says.

use lockgate_config::model::*;

use crate::fake::read;

const SHORT: &str = include_str!("../data/short.yaml");
const BANK: &str = include_str!("../data/bank.yaml");
const SPELLINGS: &str = include_str!("../data/spellings.yaml");

#[test]
fn the_short_example_becomes_its_long_form() {
    read(SHORT).unwrap();
}
#[test]
fn bank() {
    let loaded = read(BANK).unwrap_or_else(|r| panic!("{r}"));
}
#[test]
fn spellings() {
    let loaded = read(SPELLINGS).unwrap_or_else(|r| panic!("{r}"));
}
