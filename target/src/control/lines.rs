//! Requests, one to a line.

use std::io::{self, Read};

/// Bytes of a request, its line end not counted.
pub(super) const MAX_REQUEST: usize = 1 << 20;

/// What a client sent, cut into lines of bounded length.
pub(super) struct Lines<R> {
    from: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that were given out, or are known to hold no line end.
    used: usize,
    scanned: usize,
    /// In the rest of a line that was too long.
    skipping: bool,
    ended: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// Without its end.
    Whole(&'a [u8]),
    /// Told as soon as it is too long; the rest is skipped.
    TooLong,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(from: R) -> Self {
        Self {
            from,
            buffer: Vec::new(),
            used: 0,
            scanned: 0,
            skipping: false,
            ended: false,
        }
    }

    /// The next line. The last one may lack its end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            self.buffer.drain(..self.used);
            self.scanned -= self.used;
            self.used = 0;
            let fresh = self.buffer.get(self.scanned..).unwrap_or_default();
            let end = fresh
                .iter()
                .position(|&byte| byte == b'\n')
                .map(|at| self.scanned + at);
            self.scanned = self.buffer.len();
            match end {
                Some(end) => {
                    self.used = end + 1;
                    self.scanned = self.used;
                    if std::mem::take(&mut self.skipping) {
                        continue;
                    }
                    if end > MAX_REQUEST {
                        return Ok(Some(Line::TooLong));
                    }
                    return Ok(self.buffer.get(..end).map(Line::Whole));
                }
                None if self.skipping => self.used = self.buffer.len(),
                None if self.buffer.len() > MAX_REQUEST => {
                    self.skipping = true;
                    self.used = self.buffer.len();
                    return Ok(Some(Line::TooLong));
                }
                None if self.ended => {
                    self.used = self.buffer.len();
                    if self.used == 0 {
                        return Ok(None);
                    }
                    return Ok(Some(Line::Whole(&self.buffer)));
                }
                None => {}
            }
            if self.ended && self.used == self.buffer.len() {
                return Ok(None);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        let mut chunk = [0; 16 << 10];
        let count = loop {
            match self.from.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        self.ended = count == 0;
        self.buffer
            .extend_from_slice(chunk.get(..count).unwrap_or_default());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of that size.
    struct Pieces<'a>(&'a [u8], usize);

    impl Read for Pieces<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn lines(bytes: &[u8], piece: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(Pieces(bytes, piece));
        let mut list = Vec::new();
        while let Some(line) = lines.next().expect("reads") {
            list.push(match line {
                Line::Whole(line) => Some(line.to_vec()),
                Line::TooLong => None,
            });
        }
        list
    }

    #[test]
    fn lines_of_all_lengths() {
        let text = b"one\n\ntwo\r\nlast";
        let expected = ["one", "", "two\r", "last"].map(|line| Some(line.as_bytes().to_vec()));
        for piece in 1..=text.len() {
            assert_eq!(lines(text, piece), expected, "{piece}");
        }
        assert_eq!(lines(b"", 1), []);
        assert_eq!(lines(b"\n", 1), [Some(vec![])]);
    }

    #[test]
    fn long_lines_are_told_once_and_skipped() {
        for (length, fits) in [
            (MAX_REQUEST, true),
            (MAX_REQUEST + 1, false),
            (3 << 20, false),
        ] {
            let line = vec![b'x'; length];
            let text = [&line[..], b"\nnext\n"].concat();
            let expected = [fits.then_some(line), Some(b"next".to_vec())];
            for piece in [1000, 1 << 14] {
                assert!(lines(&text, piece) == expected, "{length} {piece}");
            }
        }
        // One that never ends.
        assert_eq!(lines(&vec![b'x'; 2 << 20], 1 << 14), [None]);
    }
}
