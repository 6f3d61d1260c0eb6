//! What the operator has chosen to see, and what a key changes of it. Nothing here draws or asks.

use std::collections::VecDeque;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::figures::{Figures, RouteRow, UpstreamRow, falling};

/// Most rates that are kept for the line of the past.
const PAST: usize = 240;
/// Most letters of a filter.
const LONGEST_FILTER: usize = 60;

/// All of it.
pub(super) struct Screen {
    /// Where the gateway is asked.
    pub(super) address: String,
    /// `None` until there are two looks to compare.
    pub(super) figures: Option<Figures>,
    pub(super) focus: Pane,
    pub(super) routes: Table,
    pub(super) upstreams: Table,
    pub(super) filter: String,
    pub(super) mode: Mode,
    pub(super) paused: bool,
    /// What came of the last order, until the next key.
    pub(super) told: Option<Told>,
    /// Why there are no new figures, as long as there are none.
    pub(super) lost: Option<String>,
    /// Requests a second, the newest last.
    pub(super) past: VecDeque<u64>,
}

/// One of the two tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pane {
    Routes,
    Upstreams,
}

/// How a table is looked at.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// By which of its columns, as a place among those that it can be sorted by.
    pub(super) sort: usize,
    pub(super) reversed: bool,
    /// The chosen line, by what it is rather than by where: lines change places by themselves.
    pub(super) chosen: Option<Item>,
    /// The first line that is shown.
    pub(super) from: usize,
    /// Lines that there is room for, as last drawn.
    pub(super) room: usize,
}

/// What a line stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Route(String),
    Upstream(String),
    /// Of an upstream.
    Endpoint(String, String),
}

/// What keys mean now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Look,
    /// Letters go into the filter.
    Filter,
    /// An order waits for a yes.
    Confirm(Order),
    Help,
}

/// A word on an endpoint, or on all of an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    /// As the gateway knows it.
    pub(super) service: String,
    /// `drain` or `clear`.
    pub(super) word: &'static str,
    /// How many endpoints that is, if it is an upstream.
    pub(super) endpoints: Option<usize>,
}

/// A sentence for the last line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) text: String,
    pub(super) bad: bool,
}

/// What is to be done outside of the screen.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Quit,
    Give(Order),
}

/// What routes are sorted by.
pub(super) const ROUTE_SORTS: [&str; 5] = ["REQ/S", "ERR%", "P99", "OUT/S", "ROUTE"];
/// What upstreams are sorted by.
pub(super) const UPSTREAM_SORTS: [&str; 4] = ["REQ/S", "P99", "FLIGHT", "UPSTREAM"];

impl Screen {
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            figures: None,
            focus: Pane::Routes,
            routes: Table::default(),
            upstreams: Table::default(),
            filter: String::new(),
            mode: Mode::Look,
            paused: false,
            told: None,
            lost: None,
            past: VecDeque::new(),
        }
    }

    /// Shows newer figures, unless it is paused.
    pub(super) fn show(&mut self, figures: Figures) {
        if self.paused {
            return;
        }
        if self.past.len() == PAST {
            self.past.pop_front();
        }
        self.past.push_back(figures.all.requests.round() as u64);
        self.figures = Some(figures);
    }

    pub(super) fn tell(&mut self, text: String, bad: bool) {
        self.told = Some(Told { text, bad });
    }

    /// Heeds a key.
    pub(super) fn press(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return matches!(key.code, KeyCode::Char('c' | 'd')).then_some(Wish::Quit);
        }
        match &self.mode {
            Mode::Look => return self.press_looking(key.code),
            Mode::Filter => self.press_filtering(key.code),
            Mode::Confirm(order) => {
                let order = order.clone();
                self.mode = Mode::Look;
                return matches!(key.code, KeyCode::Char('y' | 'Y')).then_some(Wish::Give(order));
            }
            Mode::Help => self.mode = Mode::Look,
        }
        None
    }

    fn press_filtering(&mut self, code: KeyCode) {
        match code {
            KeyCode::Enter => self.mode = Mode::Look,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Look;
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) if self.filter.chars().count() < LONGEST_FILTER => {
                self.filter.push(letter);
            }
            _ => {}
        }
    }

    fn press_looking(&mut self, code: KeyCode) -> Option<Wish> {
        self.told = None;
        match code {
            KeyCode::Char('q') => return Some(Wish::Quit),
            KeyCode::Char('?' | 'h') => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Esc => self.filter.clear(),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Tab | KeyCode::BackTab => {
                self.focus = match self.focus {
                    Pane::Routes => Pane::Upstreams,
                    Pane::Upstreams => Pane::Routes,
                };
            }
            KeyCode::Char('s') => {
                let columns = match self.focus {
                    Pane::Routes => ROUTE_SORTS.len(),
                    Pane::Upstreams => UPSTREAM_SORTS.len(),
                };
                let table = self.table();
                table.sort = (table.sort + 1) % columns;
            }
            KeyCode::Char('r') => {
                let table = self.table();
                table.reversed = !table.reversed;
            }
            KeyCode::Char('d') => self.ask("drain"),
            KeyCode::Char('c') => self.ask("clear"),
            _ => self.step(code),
        }
        None
    }

    fn table(&mut self) -> &mut Table {
        match self.focus {
            Pane::Routes => &mut self.routes,
            Pane::Upstreams => &mut self.upstreams,
        }
    }

    /// The lines of a table, as they are shown.
    pub(super) fn items(&self, pane: Pane) -> Vec<Item> {
        match pane {
            Pane::Routes => {
                self.route_rows().into_iter().map(|row| Item::Route(row.name.clone())).collect()
            }
            Pane::Upstreams => {
                let rows = self.upstream_rows();
                let mut items = Vec::new();
                for row in rows {
                    let upstream = &row.group.name;
                    items.push(Item::Upstream(upstream.clone()));
                    items.extend(
                        row.group.endpoints.iter().map(|endpoint| {
                            Item::Endpoint(upstream.clone(), endpoint.name.clone())
                        }),
                    );
                }
                items
            }
        }
    }

    fn step(&mut self, code: KeyCode) {
        let items = self.items(self.focus);
        let Some(last) = items.len().checked_sub(1) else { return };
        let table = self.table();
        let page = table.room.max(2) - 1;
        let here = items.iter().position(|item| Some(item) == table.chosen.as_ref());
        let to = match (code, here) {
            (KeyCode::Down | KeyCode::Char('j'), Some(here)) => here + 1,
            (KeyCode::Up | KeyCode::Char('k'), Some(here)) => here.saturating_sub(1),
            (KeyCode::PageDown, Some(here)) => here + page,
            (KeyCode::PageUp, Some(here)) => here.saturating_sub(page),
            (KeyCode::End | KeyCode::Char('G'), _) => last,
            (KeyCode::Home | KeyCode::Char('g'), _) => 0,
            (
                KeyCode::Down
                | KeyCode::Up
                | KeyCode::PageDown
                | KeyCode::PageUp
                | KeyCode::Char('j' | 'k'),
                None,
            ) => 0,
            _ => return,
        };
        table.chosen = items.into_iter().nth(to.min(last));
    }

    fn ask(&mut self, word: &'static str) {
        // What is not shown any more, after a change of the filter, is not chosen either.
        let chosen = match self.focus {
            Pane::Upstreams => self.upstreams.chosen.clone(),
            Pane::Routes => None,
        };
        let chosen = chosen.filter(|chosen| self.items(Pane::Upstreams).contains(chosen));
        let order = match chosen {
            Some(Item::Endpoint(_, service)) => Order { service, word, endpoints: None },
            Some(Item::Upstream(service)) => {
                let rows = self.upstream_rows();
                let row = rows.iter().find(|row| row.group.name == service);
                let endpoints = row.map_or(0, |row| row.group.endpoints.len());
                Order { service, word, endpoints: Some(endpoints) }
            }
            Some(Item::Route(_)) | None => {
                let text = "choose an upstream or an endpoint first: Tab, then the arrows";
                return self.tell(text.to_owned(), true);
            }
        };
        self.mode = Mode::Confirm(order);
    }

    /// Why the chosen endpoint takes no requests, with its name: a table has no room for all of it.
    pub(super) fn chosen_is_out(&self) -> Option<String> {
        let Some(Item::Endpoint(upstream, name)) = &self.upstreams.chosen else { return None };
        let row = self.upstream_rows().into_iter().find(|row| row.group.name == *upstream)?;
        let endpoint = row.group.endpoints.iter().find(|endpoint| endpoint.name == *name)?;
        let why = endpoint.out.as_ref().filter(|_| self.focus == Pane::Upstreams)?;
        Some(format!("{name}: {why}"))
    }

    /// The routes that the filter lets through, in their order.
    pub(super) fn route_rows(&self) -> Vec<&RouteRow> {
        let rows = self.figures.iter().flat_map(|figures| &figures.routes);
        let mut rows: Vec<_> = rows.filter(|row| self.lets_through(&row.name)).collect();
        let by = ROUTE_SORTS.get(self.routes.sort).copied().unwrap_or_default();
        rows.sort_by(|a, b| {
            let (one, other) = (&a.rates, &b.rates);
            let order = match by {
                "REQ/S" => falling(Some(one.requests), Some(other.requests)),
                "ERR%" => falling(Some(one.failing()), Some(other.failing())),
                "P99" => falling(one.p99, other.p99),
                "OUT/S" => falling(Some(one.sent), Some(other.sent)),
                _ => std::cmp::Ordering::Equal,
            };
            order.then_with(|| a.name.cmp(&b.name))
        });
        if self.routes.reversed {
            rows.reverse();
        }
        rows
    }

    /// The upstreams that the filter lets through, by their name or that of an endpoint.
    pub(super) fn upstream_rows(&self) -> Vec<&UpstreamRow> {
        let rows = self.figures.iter().flat_map(|figures| &figures.upstreams);
        let fits = |row: &&UpstreamRow| {
            let endpoints = &row.group.endpoints;
            self.lets_through(&row.group.name)
                || endpoints.iter().any(|endpoint| self.lets_through(&endpoint.name))
        };
        let mut rows: Vec<_> = rows.filter(fits).collect();
        let by = UPSTREAM_SORTS.get(self.upstreams.sort).copied().unwrap_or_default();
        let flight = |row: &UpstreamRow| {
            row.group.endpoints.iter().map(|endpoint| endpoint.in_flight).sum::<u64>()
        };
        rows.sort_by(|a, b| {
            let order = match by {
                "REQ/S" => falling(Some(a.requests), Some(b.requests)),
                "P99" => falling(a.p99, b.p99),
                "FLIGHT" => flight(b).cmp(&flight(a)),
                _ => std::cmp::Ordering::Equal,
            };
            order.then_with(|| a.group.name.cmp(&b.group.name))
        });
        if self.upstreams.reversed {
            rows.reverse();
        }
        rows
    }

    fn lets_through(&self, name: &str) -> bool {
        self.filter.is_empty() || name.to_lowercase().contains(&self.filter.to_lowercase())
    }
}
