//! The form of scst.conf: lines of words, and braces around what belongs to a line.
//!
//! Words are separated by blanks, and a word with blanks in it is in double quotes. `#` begins a comment, unless a backslash is
//! before it. Newlines and braces end an entry, so that a section may be on one line.

use crate::import::ImportError;
use crate::import::notes::{Notes, Place};

/// One line, and what is in the braces behind it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) line: usize,
    /// At least one.
    pub(super) words: Vec<String>,
    pub(super) body: Vec<Entry>,
}

/// What may have braces behind it, and the words that belong to its name.
const SECTIONS: [(&str, usize); 9] = [
    ("HANDLER", 1),
    ("DEVICE", 1),
    ("TARGET_DRIVER", 1),
    ("TARGET", 1),
    ("GROUP", 1),
    ("LUN", 2),
    ("INITIATOR", 1),
    ("DEVICE_GROUP", 1),
    ("TARGET_GROUP", 1),
];

impl Entry {
    pub(super) fn is(&self, keyword: &str) -> bool {
        self.word(0) == keyword
    }

    /// Whether this sets the attribute `name`, which may have a number behind it.
    pub(super) fn is_attribute(&self, name: &str) -> bool {
        super::base(self.word(0)).eq_ignore_ascii_case(name)
    }

    /// Empty if there are not so many.
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    pub(super) fn is_section(&self) -> bool {
        SECTIONS.iter().any(|(keyword, _)| self.is(keyword))
    }

    /// Words that belong to its name.
    pub(super) fn arguments(&self) -> usize {
        SECTIONS
            .iter()
            .find(|(keyword, _)| self.is(keyword))
            .map_or(1, |&(_, arguments)| arguments)
    }
}

/// Sections within sections, at most; SCST has four.
const DEEPEST: usize = 16;

pub(super) fn parse(text: &str, notes: &mut Notes) -> Result<Vec<Entry>, ImportError> {
    let mut reader = Reader {
        line: 1,
        ..Reader::default()
    };
    let mut chars = text.chars().peekable();
    // Whether what came before belongs to the same word.
    let mut glued = false;
    while let Some(c) = chars.next() {
        match c {
            '\n' => {
                reader.end_entry();
                reader.line += 1;
            }
            '{' => reader.open()?,
            '}' => reader.close()?,
            '#' => {
                if glued {
                    notes.add(
                        &reader.place(),
                        "a '#' with no blank before it: scstadmin takes the character before it for part of the comment as well",
                        "check what was read from this line, and write '\\#' for a '#' that is no comment",
                    );
                }
                while chars.next_if(|&c| c != '\n').is_some() {}
            }
            '"' if !glued => reader.quoted(&mut chars, notes)?,
            c if c.is_whitespace() => reader.end_word(),
            '\\' => {
                let escaped = chars.next_if(|&c| c != '\n').unwrap_or('\\');
                reader.word.get_or_insert_default().push(escaped);
            }
            c => reader.word.get_or_insert_default().push(c),
        }
        glued = reader.word.is_some();
    }
    reader.finish()
}

#[derive(Default)]
struct Reader {
    line: usize,
    word: Option<String>,
    words: Vec<String>,
    /// Where the first of `words` is.
    began: usize,
    entries: Vec<Entry>,
    /// Sections around this one: what came before them, and the line that opened them.
    around: Vec<(Vec<Entry>, Entry)>,
}

impl Reader {
    fn place(&self) -> Place {
        let short = format!("line {}", self.line);
        Place {
            full: short.clone(),
            short,
            line: self.line,
        }
    }

    fn quoted(
        &mut self,
        chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
        notes: &mut Notes,
    ) -> Result<(), ImportError> {
        let mut word = String::new();
        loop {
            match chars.next_if(|&c| c != '\n') {
                Some('"') => break,
                Some('\\') => word.push(chars.next_if(|&c| c != '\n').unwrap_or('\\')),
                Some(c) => {
                    if c == '#' {
                        notes.add(
                            &self.place(),
                            "a '#' in quotes: for scstadmin a comment begins there; here it is part of the value",
                            "write '\\#', and check what was read from this line",
                        );
                    }
                    word.push(c);
                }
                None => {
                    return Err(ImportError::new(
                        self.line,
                        "a quote is opened here and not closed",
                        "close it on the same line",
                    ));
                }
            }
        }
        self.word = Some(word);
        self.end_word();
        Ok(())
    }

    fn end_word(&mut self) {
        if let Some(word) = self.word.take() {
            if self.words.is_empty() {
                self.began = self.line;
            }
            self.words.push(word);
        }
    }

    fn entry(&mut self) -> Option<Entry> {
        self.end_word();
        let words = std::mem::take(&mut self.words);
        (!words.is_empty()).then_some(Entry {
            line: self.began,
            words,
            body: Vec::new(),
        })
    }

    fn end_entry(&mut self) {
        if let Some(entry) = self.entry() {
            self.entries.push(entry);
        }
    }

    fn open(&mut self) -> Result<(), ImportError> {
        let Some(entry) = self.entry() else {
            return Err(ImportError::new(
                self.line,
                "a '{' with no section's name before it on its line",
                "write the name, such as HANDLER vdisk_fileio, and '{' on one line",
            ));
        };
        if self.around.len() >= DEEPEST {
            return Err(ImportError::new(
                self.line,
                format!("more than {DEEPEST} sections are in one another"),
                "this is not an scst.conf",
            ));
        }
        self.around.push((std::mem::take(&mut self.entries), entry));
        Ok(())
    }

    fn close(&mut self) -> Result<(), ImportError> {
        self.end_entry();
        let Some((before, mut entry)) = self.around.pop() else {
            return Err(ImportError::new(
                self.line,
                "a '}' that closes nothing",
                "remove it, or look for a '{' that is missing before it",
            ));
        };
        entry.body = std::mem::replace(&mut self.entries, before);
        self.entries.push(entry);
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<Entry>, ImportError> {
        self.end_entry();
        if let Some((_, entry)) = self.around.last() {
            return Err(ImportError::new(
                entry.line,
                format!("the section {} is not closed", entry.word(0)),
                "a '}' is missing",
            ));
        }
        let old = |entry: &&Entry| {
            ["[HANDLER", "[GROUP", "[ASSIGNMENT", "[OPTIONS", "[TARGETS"]
                .iter()
                .any(|keyword| entry.is(keyword))
        };
        if let Some(entry) = self.entries.iter().find(old) {
            return Err(ImportError::new(
                entry.line,
                "this is the form that scst.conf had before SCST 2.0",
                "have scstadmin convert it: apply it, and write it with -write_config",
            ));
        }
        Ok(self.entries)
    }
}
