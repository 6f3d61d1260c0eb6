//! The screen as it is drawn: figures, what is wrong, routes, upstreams, and what keys do. From 60
//! columns and 14 lines on; wider ones show more columns.

use std::time::{SystemTime, UNIX_EPOCH};

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Sparkline, Table, TableState, Wrap};

use super::figures::{Figures, RouteRow};
use super::screen::{Item, Mode, Order, Pane, ROUTE_SORTS, Screen, UPSTREAM_SORTS};

/// The least that it can be drawn on.
const LEAST: (u16, u16) = (60, 14);
/// From so many columns on there is room for all of a table's.
const WIDE: u16 = 104;

const KEYS: &str = " Tab table  s sort  r reverse  / filter  d drain  p pause  ? help  q quit";

const HELP: [&str; 15] = [
    "Tab            the other table",
    "arrows, j k    choose a line",
    "PgUp PgDn      a page of them",
    "Home End, g G  the first, the last",
    "s              sort by the next column",
    "r              the other way round",
    "/              filter by name; Esc clears it",
    "d              drain the chosen endpoint or upstream",
    "c              leave it to its health checks again",
    "p, space       pause",
    "q, Ctrl-C      quit",
    "",
    "Rates and times are those between two looks. P50 and",
    "P99 are read off histograms, right to within a bucket.",
    "An upstream's P99 is of the first byte of its answers.",
];

/// How things are told apart: by colours, or without.
#[derive(Debug, Clone, Copy)]
pub(super) struct Palette {
    pub(super) colours: bool,
}

impl Palette {
    fn colour(self, colour: Color) -> Style {
        if self.colours { Style::new().fg(colour) } else { Style::new() }
    }

    fn good(self) -> Style {
        self.colour(Color::Green)
    }

    fn doubtful(self) -> Style {
        self.colour(Color::Yellow)
    }

    fn bad(self) -> Style {
        self.colour(Color::Red).add_modifier(Modifier::BOLD)
    }

    fn label(self) -> Style {
        self.colour(Color::DarkGray)
    }

    /// By the share of errors.
    fn failing(self, share: f64) -> Style {
        match share {
            0.05.. => self.bad(),
            share if share > 0.0 => self.doubtful(),
            _ => Style::new(),
        }
    }
}

/// Draws all of it.
pub(super) fn screen(frame: &mut Frame<'_>, screen: &mut Screen, palette: Palette) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        let text = format!("too small: {} by {} at least", LEAST.0, LEAST.1);
        return frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
    }
    let (routes_share, upstreams_share) = match screen.focus {
        Pane::Routes => (3, 2),
        Pane::Upstreams => (2, 3),
    };
    let [bar, numbers, wrong, routes, upstreams, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Fill(routes_share),
        Constraint::Fill(upstreams_share),
        Constraint::Length(1),
    ])
    .areas(area);
    title(frame, bar, screen);
    match &screen.figures {
        Some(figures) => self::numbers(frame, numbers, figures, &screen.past, palette),
        None => frame.render_widget(" looking...", numbers),
    }
    problems(frame, wrong, screen, palette);
    route_table(frame, routes, screen, palette);
    upstream_table(frame, upstreams, screen, palette);
    footer(frame, foot, screen, palette);
    match &screen.mode {
        Mode::Confirm(order) => popup(frame, " Are you sure? ", &asked(order)),
        Mode::Help => popup(frame, " Keys ", &HELP.map(str::to_owned)),
        Mode::Look | Mode::Filter => {}
    }
}

fn title(frame: &mut Frame<'_>, area: Rect, screen: &Screen) {
    let paused = if screen.paused { "  PAUSED" } else { "" };
    let mut text = format!(" lockgate  {}{paused}", screen.address);
    if let Some(Figures { whole, .. }) = &screen.figures {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let up = span((now.as_secs_f64() - whole.started).max(0.0) as u64);
        text.push_str(&format!(
            "  version {}  up {up}  configuration {:.0}",
            whole.version, whole.generation
        ));
    }
    let bar = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_widget(Paragraph::new(text).style(bar), area);
}

fn numbers(
    frame: &mut Frame<'_>,
    area: Rect,
    figures: &Figures,
    past: &std::collections::VecDeque<u64>,
    palette: Palette,
) {
    let width = if area.width >= WIDE { 40 } else { 16.min(area.width.saturating_sub(60)) };
    let [left, right] =
        Layout::horizontal([Constraint::Fill(1), Constraint::Length(width)]).areas(area);
    let Figures { all, whole, .. } = figures;
    let hits = figures.hits.map_or("-".to_owned(), |share| format!("{:.0} %", 100.0 * share));
    let say = |name: &'static str, value: String, style: Style| {
        [Span::styled(format!(" {name} "), palette.label()), Span::styled(value, style)]
    };
    let plain = Style::new();
    let strong = plain.add_modifier(Modifier::BOLD);
    let lines = [
        [
            say("requests", format!("{}/s", rate(all.requests)), strong),
            say("errors", percent(all.failing()), palette.failing(all.failing())),
            say("p50", time(all.p50), plain),
            say("p99", time(all.p99), plain),
        ],
        [
            say("in flight", format!("{:.0}", whole.in_flight), plain),
            say("connections", format!("{:.0}", whole.connections), plain),
            say("in", format!("{}/s", size(all.received)), plain),
            say("out", format!("{}/s", size(all.sent)), plain),
        ],
        [
            say("cores", format!("{:.2}", figures.cores), plain),
            say("memory", size(whole.memory), plain),
            say("cache hits", hits, plain),
            say("limited", format!("{}/s", rate(figures.limited)), plain),
        ],
    ];
    let lines = lines.map(|parts| Line::from(parts.concat()));
    frame.render_widget(Paragraph::new(lines.to_vec()), left);
    let shown: Vec<u64> =
        past.iter().skip(past.len().saturating_sub(width.into())).copied().collect();
    frame.render_widget(Sparkline::default().data(shown).style(palette.good()), right);
}

fn problems(frame: &mut Frame<'_>, area: Rect, screen: &Screen, palette: Palette) {
    let found = screen.figures.as_ref().map(|figures| figures.problems.as_slice());
    let (text, style) = match (&screen.lost, found) {
        (Some(why), _) => (format!(" No new figures: {why}"), palette.bad()),
        (None, None) => (String::new(), Style::new()),
        (None, Some([])) => (" All is well.".to_owned(), palette.good()),
        (None, Some(found)) => (format!(" To look at: {}", found.join("; ")), palette.bad()),
    };
    frame.render_widget(Paragraph::new(text).style(style), area);
}

/// A column's title, marked when it is what the table is sorted by.
fn heads(titles: &[&'static str], by: &str, reversed: bool, focused: bool) -> Row<'static> {
    const WORDS: [&str; 3] = ["ROUTE", "UPSTREAM", "STATE"];
    let cells = titles.iter().map(|&title| {
        let mark = match title == by {
            false => "",
            true if reversed => "^",
            true => "v",
        };
        let text = Line::from(format!("{title}{mark}"));
        Cell::from(if WORDS.contains(&title) { text } else { text.right_aligned() })
    });
    let style = Style::new().add_modifier(Modifier::BOLD);
    Row::new(cells).style(if focused { style.add_modifier(Modifier::REVERSED) } else { style })
}

fn right(text: String, style: Style) -> Cell<'static> {
    Cell::from(Line::styled(text, style).right_aligned())
}

fn route_table(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen, palette: Palette) {
    let is_wide = area.width >= WIDE;
    let mut titles = vec!["ROUTE", "REQ/S", "ERR%", "P50", "P99", "OUT/S"];
    let mut widths = vec![Constraint::Fill(1)];
    widths.extend([9, 7, 9, 9, 9].map(Constraint::Length));
    if is_wide {
        titles.push("WHY");
        widths.push(Constraint::Length(24));
    }
    let rows: Vec<Row<'_>> = screen
        .route_rows()
        .into_iter()
        .map(|RouteRow { name, rates, why }| {
            let failing = palette.failing(rates.failing());
            let mut cells = vec![
                Cell::from(name.clone()),
                right(rate(rates.requests), Style::new()),
                right(percent(rates.failing()), failing),
                right(time(rates.p50), Style::new()),
                right(time(rates.p99), Style::new()),
                right(size(rates.sent), Style::new()),
            ];
            if is_wide {
                cells.push(right(why.clone().unwrap_or_default(), failing));
            }
            Row::new(cells)
        })
        .collect();
    let by = ROUTE_SORTS.get(screen.routes.sort).copied().unwrap_or_default();
    let head = heads(&titles, by, screen.routes.reversed, screen.focus == Pane::Routes);
    table(frame, area, screen, Pane::Routes, Table::new(rows, widths).header(head));
}

fn upstream_table(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen, palette: Palette) {
    let is_wide = area.width >= WIDE;
    let mut titles = vec!["UPSTREAM", "STATE", "REQ/S", "P99", "FLIGHT", "LATENCY"];
    let mut widths = vec![Constraint::Fill(3), Constraint::Fill(4)];
    widths.extend([8, 9, 7, 9].map(Constraint::Length));
    if is_wide {
        titles.insert(3, "RETRIED");
        widths.insert(3, Constraint::Length(8));
    }
    let mut rows = Vec::new();
    for row in screen.upstream_rows() {
        let group = &row.group;
        let (usable, of) = (group.usable, group.endpoints.len());
        let (state, style) = match &group.breaker {
            Some(phase) => (format!("breaker {phase}"), palette.bad()),
            None if usable == 0 && of > 0 => ("no endpoint".to_owned(), palette.bad()),
            None if usable < of => (format!("{usable} of {of} up"), palette.doubtful()),
            None => (format!("{of} up"), palette.good()),
        };
        let flight: u64 = group.endpoints.iter().map(|endpoint| endpoint.in_flight).sum();
        let mut cells = vec![
            Cell::from(group.name.clone()),
            Cell::from(state).style(style),
            right(rate(row.requests), Style::new()),
            right(time(row.p99), Style::new()),
            right(flight.to_string(), Style::new()),
            right(String::new(), Style::new()),
        ];
        if is_wide {
            cells.insert(3, right(percent(row.retries), Style::new()));
        }
        rows.push(Row::new(cells).style(Style::new().add_modifier(Modifier::BOLD)));
        for endpoint in &group.endpoints {
            let ordered = endpoint.ordered.as_deref();
            let (state, style) = match (&endpoint.out, ordered) {
                (_, Some("drain")) => ("drained".to_owned(), palette.doubtful()),
                (Some(why), _) => (why.clone(), palette.bad()),
                (None, Some(word)) => (format!("{word}, by an operator"), palette.doubtful()),
                (None, None) => ("up".to_owned(), palette.good()),
            };
            let latency = time(endpoint.latency.map(|ms| ms / 1e3));
            let mut cells = vec![
                Cell::from(format!("  {}", endpoint.name)),
                Cell::from(state).style(style),
                Cell::from(""),
                Cell::from(""),
                right(endpoint.in_flight.to_string(), Style::new()),
                right(latency, Style::new()),
            ];
            if is_wide {
                cells.insert(3, Cell::from(""));
            }
            rows.push(Row::new(cells));
        }
    }
    let by = UPSTREAM_SORTS.get(screen.upstreams.sort).copied().unwrap_or_default();
    let head = heads(&titles, by, screen.upstreams.reversed, screen.focus == Pane::Upstreams);
    table(frame, area, screen, Pane::Upstreams, Table::new(rows, widths).header(head));
}

/// Draws a table with its chosen line in sight.
fn table(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen, pane: Pane, table: Table<'_>) {
    let items = screen.items(pane);
    let focused = screen.focus == pane;
    let kept = match pane {
        Pane::Routes => &mut screen.routes,
        Pane::Upstreams => &mut screen.upstreams,
    };
    let at = |chosen: &Item| items.iter().position(|item| item == chosen);
    let chosen = kept.chosen.as_ref().and_then(at).filter(|_| focused);
    kept.room = usize::from(area.height.saturating_sub(1));
    let last = items.len().saturating_sub(kept.room.max(1));
    let mut state = TableState::new().with_offset(kept.from.min(last)).with_selected(chosen);
    let highlight = Style::new().add_modifier(Modifier::REVERSED);
    frame.render_stateful_widget(table.row_highlight_style(highlight), area, &mut state);
    kept.from = state.offset();
}

fn footer(frame: &mut Frame<'_>, area: Rect, screen: &Screen, palette: Palette) {
    let out = screen.chosen_is_out();
    let (text, style) = match (&screen.mode, &screen.told) {
        (Mode::Filter, _) => {
            let text = format!(" filter: {}_   Enter keeps it, Esc clears it", screen.filter);
            (text, Style::new().add_modifier(Modifier::BOLD))
        }
        (_, Some(told)) if told.bad => (format!(" {}", told.text), palette.bad()),
        (_, Some(told)) => (format!(" {}", told.text), palette.good()),
        (_, None) if out.is_some() => (format!(" {}", out.unwrap_or_default()), palette.bad()),
        (_, None) if !screen.filter.is_empty() => {
            (format!(" filter: {}   Esc clears it   ? help", screen.filter), palette.doubtful())
        }
        (_, None) => (KEYS.to_owned(), palette.label()),
    };
    frame.render_widget(Paragraph::new(text).style(style), area);
}

/// What an order comes to, before it is given.
fn asked(order: &Order) -> Vec<String> {
    let Order { service, word, endpoints } = order;
    let which = match endpoints {
        Some(1) => format!("the only endpoint of {service}"),
        Some(count) => format!("all {count} endpoints of {service}"),
        None => format!("{service}, in every upstream that has it"),
    };
    let (what, then) = match *word {
        "drain" => ("Drain", "Requests under way end, and it gets no new ones."),
        _ => ("Leave to health checks again:", "An operator's word on it is taken back."),
    };
    let mut lines = vec![format!("{what} {which}."), then.to_owned()];
    if *word == "drain" && endpoints.is_some() {
        lines.push("Requests to this upstream will then be answered 503.".to_owned());
    }
    lines.extend([String::new(), "y: do it    any other key: leave it".to_owned()]);
    lines
}

fn popup(frame: &mut Frame<'_>, title: &str, lines: &[String]) {
    let area = frame.area();
    let longest = lines.iter().map(|line| line.chars().count()).max().unwrap_or_default();
    let width = u16::try_from(longest + 4).unwrap_or(u16::MAX).min(area.width);
    let inner = usize::from(width.saturating_sub(4)).max(1);
    let wrapped: usize = lines.iter().map(|line| line.chars().count().div_ceil(inner).max(1)).sum();
    let height = u16::try_from(wrapped + 2).unwrap_or(u16::MAX).min(area.height);
    let place = Rect {
        x: area.x + (area.width - width) / 2,
        y: area.y + (area.height - height) / 2,
        width,
        height,
    };
    let text: Vec<Line<'_>> = lines.iter().map(|line| Line::from(format!(" {line}"))).collect();
    frame.render_widget(Clear, place);
    let block = Block::bordered().title(title.to_owned());
    frame.render_widget(Paragraph::new(text).block(block).wrap(Wrap { trim: false }), place);
}

fn rate(value: f64) -> String {
    match value {
        0.0..9.995 => format!("{value:.2}"),
        9.995..999.5 => format!("{value:.0}"),
        999.5..99_950.0 => format!("{:.1}k", value / 1e3),
        _ => format!("{:.0}k", value / 1e3),
    }
}

fn percent(share: f64) -> String {
    match 100.0 * share {
        percent @ 0.0..9.995 => format!("{percent:.2} %"),
        percent @ 9.995..99.95 => format!("{percent:.1} %"),
        percent => format!("{percent:.0} %"),
    }
}

fn time(seconds: Option<f64>) -> String {
    match seconds {
        None => "-".to_owned(),
        Some(seconds) if seconds < 0.01 => format!("{:.2} ms", seconds * 1e3),
        Some(seconds) if seconds < 1.0 => format!("{:.0} ms", seconds * 1e3),
        Some(seconds) => format!("{seconds:.2} s"),
    }
}

fn size(bytes: f64) -> String {
    match bytes {
        0.0..999.5 => format!("{bytes:.0} B"),
        999.5..999_500.0 => format!("{:.1} kB", bytes / 1e3),
        999_500.0..999_500_000.0 => format!("{:.1} MB", bytes / 1e6),
        _ => format!("{:.1} GB", bytes / 1e9),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}
