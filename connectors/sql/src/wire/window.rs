//! The bytes of a connection that were read and not yet used.

/// Bytes that are read at once: what a fast server sends while the reader pauses.
const BUFFER: usize = 512 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub struct Window {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Window {
    /// What was read and not yet used.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// So many bytes are used.
    pub fn advance(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.end);
    }

    /// Room to read into, never empty; [`Self::filled`] says how much was read. `bytes` unread bytes are what the reader
    /// needs to go on, 512 KiB at least are read at once.
    ///
    /// One wide row may need more than usual; the room is given back after it. It grows with what has come, and not by
    /// what a broken stream says will come.
    pub fn room(&mut self, bytes: usize) -> &mut [u8] {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let room = bytes.min(self.end.saturating_mul(2)).max(BUFFER).max(self.end + 1);
        if self.buffer.len() < room || self.buffer.len() > room * 4 {
            self.buffer.resize(room, 0);
            self.buffer.shrink_to_fit();
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// So many bytes were read into the room.
    pub fn filled(&mut self, bytes: usize) {
        self.end = self.end.saturating_add(bytes).min(self.buffer.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(window: &mut Window, needed: usize, bytes: &[u8]) -> usize {
        let room = window.room(needed);
        let count = bytes.len().min(room.len());
        room[..count].copy_from_slice(&bytes[..count]);
        window.filled(count);
        count
    }

    #[test]
    fn bytes_come_out_as_they_went_in() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
        let (mut window, mut from, mut found) = (Window::default(), 0, Vec::new());
        while found.len() < bytes.len() {
            from += fill(&mut window, 9, &bytes[from..(from + 700_000).min(bytes.len())]);
            let used = window.unread().len().min(123_457);
            found.extend_from_slice(&window.unread()[..used]);
            window.advance(used);
        }
        assert!(found == bytes);
    }

    #[test]
    fn room_grows_with_what_has_come_and_is_given_back() {
        let mut window = Window::default();
        // A stream that announces much and sends little.
        assert_eq!(window.room(1 << 30).len(), BUFFER);
        let (wide, mut sent) = (vec![7; 8 << 20], 0);
        while sent < wide.len() {
            sent += fill(&mut window, wide.len(), &wide[sent..]);
        }
        assert!(window.unread() == wide && window.buffer.len() < 3 * wide.len());
        window.advance(wide.len());
        assert_eq!(window.room(5).len(), BUFFER);
        window.advance(1);
        assert_eq!(window.unread(), b"");
    }
}
