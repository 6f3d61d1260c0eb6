//! Tables of panels made into the JSON of Grafana 10 and later.

use serde_json::{Value, json};

use super::{Choice, Dashboard, Panel, Row, Shape};

/// What `@` stands for in a query.
const CHOSEN: &str = "job=~\"$job\",instance=~\"$instance\"";
/// Rows of the grid that a panel takes.
const HEIGHT: u32 = 8;
/// The same of one number.
const LOW: u32 = 4;

/// The whole file.
pub(super) fn page(dashboard: &Dashboard) -> String {
    let (mut panels, mut id, mut y) = (Vec::new(), 0, 0);
    for row in dashboard.rows {
        y = push_row(&mut panels, row, &mut id, y);
    }
    let page = json!({
        "uid": dashboard.uid,
        "title": dashboard.title,
        "description": dashboard.about,
        "tags": ["lockgate"],
        "schemaVersion": 39,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "10s",
        "time": { "from": "now-1h", "to": "now" },
        "links": [{
            "type": "dashboards", "tags": ["lockgate"], "title": "Lockgate", "asDropdown": true,
            "includeVars": true, "keepTime": true,
        }],
        "templating": { "list": variables(dashboard.choices) },
        "panels": panels,
    });
    format!("{page:#}\n")
}

fn push_row(panels: &mut Vec<Value>, row: &Row, id: &mut u32, mut y: u32) -> u32 {
    let mut number = || {
        *id += 1;
        *id
    };
    panels.push(json!({
        "id": number(), "type": "row", "title": row.title, "collapsed": false, "panels": [],
        "gridPos": { "x": 0, "y": y, "w": 24, "h": 1 },
    }));
    y += 1;
    let (mut x, mut height) = (0, 0);
    for panel in row.panels {
        if x + panel.width > 24 {
            (x, y) = (0, y + height);
            height = 0;
        }
        let tall = match panel.shape {
            Shape::Number | Shape::Zero | Shape::One => LOW,
            _ => HEIGHT,
        };
        let place = json!({ "x": x, "y": y, "w": panel.width, "h": tall });
        panels.push(drawn(panel, number(), place));
        x += panel.width;
        height = height.max(tall);
    }
    y + height
}

fn variables(choices: &[Choice]) -> Vec<Value> {
    let source = json!({
        "name": "datasource", "label": "Source", "type": "datasource", "query": "prometheus",
        "refresh": 1,
    });
    let job = query("job", "Job", "label_values(lockgate_build_info, job)");
    let gateways = "label_values(lockgate_build_info{job=~\"$job\"}, instance)";
    let gateways = query("instance", "Gateways", gateways);
    let more = choices.iter().map(|Choice { label, title, of }| {
        query(label, title, &format!("label_values({of}{{{CHOSEN}}}, {label})"))
    });
    [source, job, gateways].into_iter().chain(more).collect()
}

/// All values of it, unless some are chosen.
fn query(name: &str, title: &str, values: &str) -> Value {
    json!({
        "name": name, "label": title, "type": "query", "datasource": source(),
        "query": { "query": values, "refId": name }, "definition": values, "refresh": 2,
        "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
        "current": { "text": "All", "value": "$__all" },
    })
}

fn source() -> Value {
    json!({ "type": "prometheus", "uid": "${datasource}" })
}

fn drawn(panel: &Panel, id: u32, place: Value) -> Value {
    let mut letters = ('A'..='Z').map(String::from);
    let targets = panel.queries.iter().map(|(asked, legend)| {
        let target = json!({
            "refId": letters.next().unwrap_or_default(),
            "datasource": source(),
            "expr": asked.replace('@', CHOSEN),
            "legendFormat": legend,
        });
        match panel.shape {
            Shape::Table => with(with(target, "format", "table"), "instant", true),
            Shape::Heat => with(target, "format", "heatmap"),
            _ => target,
        }
    });
    let (kind, defaults, options) = look(panel.shape);
    json!({
        "id": id,
        "type": kind,
        "title": panel.title,
        "description": panel.about,
        "gridPos": place,
        "datasource": source(),
        "fieldConfig": { "defaults": with(defaults, "unit", panel.unit), "overrides": [] },
        "options": options,
        "targets": targets.collect::<Vec<_>>(),
    })
}

/// An object with one more member.
fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    if let Value::Object(members) = &mut object {
        members.insert(name.to_owned(), value.into());
    }
    object
}

/// Grafana's kind of a panel, its defaults and its options.
fn look(shape: Shape) -> (&'static str, Value, Value) {
    let legend = json!({
        "legend": { "displayMode": "list", "placement": "bottom", "showLegend": true },
        "tooltip": { "mode": "multi", "sort": "desc" },
    });
    let number = json!({
        "reduceOptions": { "calcs": ["lastNotNull"] }, "colorMode": "value", "graphMode": "area",
    });
    match shape {
        Shape::Line => {
            let custom = json!({ "fillOpacity": 8, "lineWidth": 1, "showPoints": "never" });
            ("timeseries", json!({ "custom": custom, "min": 0 }), legend)
        }
        Shape::Stack => {
            let stacked = json!({ "mode": "normal" });
            let custom = json!({ "fillOpacity": 40, "lineWidth": 1, "stacking": stacked });
            ("timeseries", json!({ "custom": custom, "min": 0 }), legend)
        }
        Shape::Number => ("stat", json!({ "thresholds": steps(&[("text", None)]) }), number),
        Shape::Zero => {
            let steps = steps(&[("green", None), ("red", Some(0.000_001))]);
            ("stat", json!({ "thresholds": steps }), number)
        }
        Shape::One => {
            let steps = steps(&[("red", None), ("green", Some(1.0))]);
            ("stat", json!({ "thresholds": steps }), number)
        }
        Shape::Heat => {
            let options = json!({
                "calculate": false, "yAxis": { "unit": "s" }, "cellGap": 1,
                "color": { "mode": "scheme", "scheme": "Oranges", "exponent": 0.5 },
            });
            ("heatmap", json!({}), options)
        }
        Shape::Table => ("table", json!({}), json!({ "showHeader": true })),
    }
}

fn steps(steps: &[(&str, Option<f64>)]) -> Value {
    let step = |(color, value): &(&str, Option<f64>)| json!({ "color": color, "value": value });
    json!({ "mode": "absolute", "steps": steps.iter().map(step).collect::<Vec<_>>() })
}
