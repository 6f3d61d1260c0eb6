//! The line of memory that a log has beside its entry: a few of its oldest events, and a few of its
//! newest, so that the ring between them is looked at once for several events, and not at all
//! where there are few. It comes with the entry's own line, side by side.

use super::log::Width;

/// Bytes of the times of both ends.
const BYTES: usize = 61;

/// Both ends of a log but for the very oldest event and the newest one.
#[repr(align(64))]
#[derive(Clone)]
pub(crate) struct Near {
    times: [u8; BYTES],
    /// Where the first of the old ones stands, how many they are, and how many are new.
    at: u8,
    old: u8,
    new: u8,
}

impl Default for Near {
    fn default() -> Self {
        Self { times: [0; BYTES], at: 0, old: 0, new: 0 }
    }
}

/// How many times each end has room for, by their width.
const ROOM: [u8; 9] = [0, 27, 13, 9, 7, 5, 4, 4, 3];

fn room(width: Width) -> usize {
    ROOM.get(width.0).copied().unwrap_or_default().into()
}

impl Near {
    /// How many are old, and how many are new.
    pub(super) fn olds(&self) -> usize {
        self.old.into()
    }

    pub(super) fn news(&self) -> usize {
        self.new.into()
    }

    pub(super) fn clear(&mut self) {
        (self.at, self.old, self.new) = (0, 0, 0);
    }

    /// The time of an old one.
    pub(super) fn old_time(&self, width: Width, number: usize) -> u64 {
        width.read(&self.times, usize::from(self.at) + number)
    }

    pub(super) fn set_old(&mut self, width: Width, number: usize, time: u64) {
        width.write(&mut self.times, usize::from(self.at) + number, time);
    }

    /// The time of a new one.
    pub(super) fn new_time(&self, width: Width, number: usize) -> u64 {
        width.read(&self.times, room(width) + number)
    }

    pub(super) fn set_new(&mut self, width: Width, number: usize, time: u64) {
        width.write(&mut self.times, room(width) + number, time);
    }

    /// Forgets the oldest ones of each end.
    pub(super) fn forget(&mut self, width: Width, old: usize, new: usize) {
        self.at += old as u8;
        self.old -= old as u8;
        if new > 0 {
            self.shift(width, room(width) + new, room(width), self.news() - new);
            self.new -= new as u8;
        }
    }

    /// Forgets the newest ones of each end.
    pub(super) fn take_back(&mut self, old: usize, new: usize) {
        (self.old, self.new) = (self.old - old as u8, self.new - new as u8);
    }

    /// How many more there is room for among the old ones.
    pub(super) fn old_room(&self, width: Width) -> usize {
        room(width) - self.olds()
    }

    /// How many more there is room for among the new ones.
    pub(super) fn new_room(&self, width: Width) -> usize {
        room(width) - self.news()
    }

    /// Adds an old one, after the others.
    pub(super) fn push_old(&mut self, width: Width, time: u64) {
        if self.at > 0 {
            self.shift(width, self.at.into(), 0, self.olds());
            self.at = 0;
        }
        self.old += 1;
        self.set_old(width, self.olds() - 1, time);
    }

    /// Adds a new one, after the others.
    pub(super) fn push_new(&mut self, width: Width, time: u64) {
        self.new += 1;
        self.set_new(width, self.news() - 1, time);
    }

    /// Makes the new ones the old ones, of which there are none.
    pub(super) fn age(&mut self, width: Width) {
        self.shift(width, room(width), 0, self.news());
        (self.at, self.old, self.new) = (0, self.new, 0);
    }

    fn shift(&mut self, width: Width, from: usize, to: usize, count: usize) {
        for number in 0..count {
            let time = width.read(&self.times, from + number);
            width.write(&mut self.times, to + number, time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_line_with_room_for_some_of_any_width() {
        assert_eq!(size_of::<Near>(), 64);
        for width in (1..=8).map(Width) {
            assert_eq!(room(width), width.places(BYTES) / 2);
        }
    }
}
