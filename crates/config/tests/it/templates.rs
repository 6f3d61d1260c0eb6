//! Words of a template are left to the plugin that asks for them, and to no other; what a
//! reference stands for is never one.

use lockgate_config::load_str_with;

use crate::fake::{ALL, errors, good};

fn word(written: &str) -> String {
    let text = format!("routes: {{ /a: {{ to: http://a:1, strict: {{ word: '{written}' }} }} }}\n");
    let env = |name: &str| match name {
        "IP" => Some("${ip}".to_owned()),
        "DOLLAR" => Some("a$".to_owned()),
        "PLAIN" => Some("plain".to_owned()),
        _ => None,
    };
    let loaded = load_str_with("tests/data/lockgate.yaml", &text, ALL, &env);
    let loaded = loaded.unwrap_or_else(|report| panic!("{written}: {report}"));
    let config = &loaded.document.routes["/a"].routes[0].policies[0].config;
    assert_eq!(config.written()["word"], written);
    config["word"].as_str().unwrap().to_owned()
}

#[test]
fn a_template_arrives_as_one() {
    let template = |written: &str| word(written).parse::<lockgate_core::Template>().unwrap();
    assert_eq!(template("${ip} ${claim:sub}").to_string(), "${ip} ${claim:sub}");
    assert_eq!(template("$${ip}").fixed().as_deref(), Some("${ip}"));
    assert_eq!(template("x ${env:PLAIN} y").fixed().as_deref(), Some("x plain y"));
    let mixed = template("${env:PLAIN}/${ip}");
    assert_eq!(mixed.texts().collect::<Vec<_>>(), ["plain/"]);
    assert_eq!(mixed.to_string(), "${ip}");
}

#[test]
fn what_a_reference_stands_for_is_no_word() {
    let template = |written: &str| word(written).parse::<lockgate_core::Template>().unwrap();
    assert_eq!(template("${env:IP}").fixed().as_deref(), Some("${ip}"));
    assert_eq!(template("${env:DOLLAR}{ip}").fixed().as_deref(), Some("a${ip}"));
    let mixed = template("${env:DOLLAR}${ip}");
    assert_eq!(mixed.texts().collect::<Vec<_>>(), ["a$"]);
    assert_eq!(mixed.to_string(), "${ip}");
}

#[test]
fn everywhere_else_a_word_is_an_error() {
    for text in [
        "routes: { /a: { to: http://a:1, auth: { key: '${ip}' } } }\n",
        "routes: { /a: { to: http://a:1, strict: { more: '${ip}' } } }\n",
        "routes: { /a: { to: { respond: { word: '${ip}' } } } }\n",
        "routes: { /a: { to: 'http://${ip}:1' } }\n",
        "routes: {}\nworkers: '${ip}'\n",
    ] {
        let all = errors(text);
        let says = "`${ip}` is not a reference that is known [`${env:NAME}`";
        assert!(all.iter().any(|error| error.contains(says)), "{text}: {all:?}");
    }
}

#[test]
fn an_unknown_word_is_told_by_the_plugin_at_its_place() {
    let all =
        errors("routes: { /a: { to: http://a:1, strict: [{ word: '${env:HOST} ${ipp}' }] } }\n");
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].contains("`${ipp}` is none of ip, host"), "{all:?}");
    assert!(all[0].contains("did you mean `${ip}`?"), "{all:?}");
    good("defaults: { strict: { word: '${ip}', more: [{ name: '${host}' }] } }\nroutes: {}\n");
}
