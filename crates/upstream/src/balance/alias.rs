//! Weighted random draws in constant time, by Vose's alias method.

use super::Ask;

/// Draws that may miss before all members are looked at.
const DRAWS: usize = 4;

/// Columns of equal width, each shared by at most two members.
#[derive(Debug)]
pub(crate) struct Alias(Box<[Column]>);

#[derive(Debug, Clone, Copy)]
struct Column {
    /// Below it the column's own member is drawn, else `other`; of 2^32.
    own: u32,
    other: u16,
}

impl Alias {
    pub(super) fn new(weights: &[u32]) -> Self {
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let scale = weights.len() as f64 / total.max(1.0);
        let mut heights: Vec<f64> = weights.iter().map(|&w| f64::from(w) * scale).collect();
        let mut columns = vec![Column { own: u32::MAX, other: 0 }; weights.len()];
        let (mut low, mut high): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|&i| heights.get(i).is_some_and(|&h| h < 1.0));
        while let (Some(small), Some(&large)) = (low.pop(), high.last()) {
            let height = heights.get(small).copied().unwrap_or(1.0);
            if let Some(column) = columns.get_mut(small) {
                *column = Column { own: (height * 2f64.powi(32)) as u32, other: large as u16 };
            }
            if let Some(rest) = heights.get_mut(large) {
                *rest -= 1.0 - height;
                if *rest < 1.0 {
                    high.pop();
                    low.push(large);
                }
            }
        }
        Self(columns.into())
    }

    pub(super) fn draw(&self) -> usize {
        let bits = fastrand::u64(..);
        let place = ((bits >> 32) * self.0.len() as u64) >> 32;
        match self.0.get(place as usize) {
            Some(column) if bits as u32 > column.own => usize::from(column.other),
            _ => place as usize,
        }
    }

    /// A draw that takes the request, if one of a few does.
    pub(super) fn draw_taking(&self, ask: &Ask<'_>) -> Option<usize> {
        (0..DRAWS).map(|_| self.draw()).find(|&place| ask.takes(place))
    }

    pub(super) fn choose(&self, ask: &Ask<'_>) -> Option<usize> {
        self.draw_taking(ask).or_else(|| ask.scan())
    }
}
