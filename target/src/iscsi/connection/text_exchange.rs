//! Text requests and responses that belong together (RFC 7143 sections 11.10 and 11.11).
//!
//! There is one exchange at a time, so that however many requests come, no more than one text and one answer are kept. A new
//! exchange ends the one before, as section 11.10.4 has it.

use super::outbox::TextReply;
use crate::iscsi::pdu::{RESERVED_TAG, RejectReason, TextRequest};
use crate::iscsi::text::Assembler;

/// The exchange.
#[derive(Debug, Default)]
pub(super) struct TextExchange {
    /// The initiator's text so far.
    request: Assembler,
    /// Our answer, and how much of it has gone out.
    answer: Vec<u8>,
    sent: usize,
    /// The request that is to go on with the exchange.
    open: Option<Bookmark>,
    next_ttt: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bookmark {
    itt: u32,
    ttt: u32,
}

impl TextExchange {
    /// Takes a request. `answer` makes an answer of a whole text; no response has more than `longest` bytes of it.
    pub(super) fn request(
        &mut self,
        request: &TextRequest<'_>,
        longest: usize,
        answer: impl FnOnce(&[u8]) -> Result<Vec<u8>, RejectReason>,
    ) -> Result<TextReply, RejectReason> {
        let result = self.step(request, longest, answer);
        if result.is_err() {
            self.end();
        }
        result
    }

    fn step(
        &mut self,
        request: &TextRequest<'_>,
        longest: usize,
        answer: impl FnOnce(&[u8]) -> Result<Vec<u8>, RejectReason>,
    ) -> Result<TextReply, RejectReason> {
        let bookmark = Bookmark {
            itt: request.itt,
            ttt: request.ttt,
        };
        if request.ttt == RESERVED_TAG {
            self.end();
        } else if self.open != Some(bookmark) {
            return Err(RejectReason::ProtocolError);
        }
        let answering = self.sent < self.answer.len();
        if answering {
            // Until the whole answer has gone out, requests only ask for more (section 11.10.2).
            if !request.data.is_empty() || request.continues {
                return Err(RejectReason::ProtocolError);
            }
        } else {
            let whole = self
                .request
                .push(request.data, request.continues)
                .map_err(|_| RejectReason::ProtocolError)?;
            let Some(whole) = whole else {
                return Ok(self.reply(request, Vec::new(), false));
            };
            self.answer = answer(&whole)?;
            self.sent = 0;
        }
        let rest = self.answer.get(self.sent..).unwrap_or(&[]);
        let chunk = rest.get(..longest).unwrap_or(rest).to_vec();
        let continues = chunk.len() < rest.len();
        self.sent += chunk.len();
        Ok(self.reply(request, chunk, continues))
    }

    fn reply(&mut self, request: &TextRequest<'_>, data: Vec<u8>, continues: bool) -> TextReply {
        // The exchange is over when both sides say so (section 11.11.1).
        let is_final = request.is_final && !continues;
        let ttt = if is_final {
            self.end();
            RESERVED_TAG
        } else {
            let ttt = self.next_ttt;
            self.next_ttt = (ttt + 1) & 0x7fff_ffff;
            self.open = Some(Bookmark {
                itt: request.itt,
                ttt,
            });
            ttt
        };
        TextReply {
            itt: request.itt,
            lun: request.lun,
            ttt,
            is_final,
            continues,
            data,
        }
    }

    fn end(&mut self) {
        *self = Self {
            next_ttt: self.next_ttt,
            ..Self::default()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(data: &[u8]) -> TextRequest<'_> {
        TextRequest {
            itt: 7,
            is_final: true,
            continues: false,
            ttt: RESERVED_TAG,
            lun: [0; 8],
            data,
        }
    }

    fn echo(text: &[u8]) -> Result<Vec<u8>, RejectReason> {
        Ok(text.to_vec())
    }

    fn never(_: &[u8]) -> Result<Vec<u8>, RejectReason> {
        panic!("no whole text")
    }

    #[test]
    fn one_request_and_one_response() {
        let mut exchange = TextExchange::default();
        let reply = exchange.request(&request(b"a=b\0"), 100, echo).unwrap();
        assert!(reply.is_final && !reply.continues);
        assert_eq!((reply.itt, reply.ttt), (7, RESERVED_TAG));
        assert_eq!(reply.data, b"a=b\0");
    }

    #[test]
    fn an_answer_in_pieces() {
        let mut exchange = TextExchange::default();
        let mut reply = exchange.request(&request(b"0123456789"), 4, echo).unwrap();
        let mut whole = reply.data.clone();
        for last in [false, true] {
            assert!(!reply.is_final && reply.continues);
            let again = TextRequest {
                ttt: reply.ttt,
                ..request(b"")
            };
            reply = exchange.request(&again, 4, never).unwrap();
            assert_eq!((reply.is_final, reply.continues), (last, !last));
            whole.extend(&reply.data);
        }
        assert_eq!(whole, b"0123456789");
        assert_eq!(reply.ttt, RESERVED_TAG);
    }

    #[test]
    fn a_request_in_pieces() {
        let mut exchange = TextExchange::default();
        let first = TextRequest {
            is_final: false,
            continues: true,
            ..request(b"a=")
        };
        let reply = exchange.request(&first, 100, never).unwrap();
        assert!(!reply.is_final && !reply.continues && reply.data.is_empty());
        let second = TextRequest {
            ttt: reply.ttt,
            ..request(b"b\0")
        };
        let reply = exchange.request(&second, 100, echo).unwrap();
        assert_eq!(reply.data, b"a=b\0");
        assert!(reply.is_final);
    }

    #[test]
    fn an_initiator_that_is_not_done_is_not_told_that_it_is() {
        let mut exchange = TextExchange::default();
        let more = TextRequest {
            is_final: false,
            ..request(b"a=b\0")
        };
        let reply = exchange.request(&more, 100, echo).unwrap();
        assert!(!reply.is_final && reply.ttt != RESERVED_TAG);
        let last = TextRequest {
            ttt: reply.ttt,
            ..request(b"")
        };
        assert!(exchange.request(&last, 100, echo).unwrap().is_final);
    }

    #[test]
    fn bookmarks_are_checked_and_used_once() {
        let mut exchange = TextExchange::default();
        let unknown = TextRequest {
            ttt: 0,
            ..request(b"")
        };
        let error = exchange.request(&unknown, 4, never).unwrap_err();
        assert_eq!(error, RejectReason::ProtocolError);
        let reply = exchange.request(&request(b"0123456789"), 4, echo).unwrap();
        let of_another = TextRequest {
            itt: 8,
            ttt: reply.ttt,
            ..request(b"")
        };
        assert!(exchange.request(&of_another, 4, never).is_err());
        // That was the end of it.
        let again = TextRequest {
            ttt: reply.ttt,
            ..request(b"")
        };
        assert!(exchange.request(&again, 4, never).is_err());
    }

    #[test]
    fn an_endless_text_is_refused() {
        let mut exchange = TextExchange::default();
        let part = [b'a'; 8192];
        let mut ttt = RESERVED_TAG;
        for _ in 0..10 {
            let request = TextRequest {
                is_final: false,
                continues: true,
                ttt,
                ..request(&part)
            };
            match exchange.request(&request, 4, never) {
                Ok(reply) => ttt = reply.ttt,
                Err(reason) => {
                    assert_eq!(reason, RejectReason::ProtocolError);
                    return;
                }
            }
        }
        panic!("it was taken");
    }

    #[test]
    fn a_new_exchange_ends_the_old_one() {
        let mut exchange = TextExchange::default();
        exchange.request(&request(b"0123456789"), 4, echo).unwrap();
        let reply = exchange.request(&request(b"a=b\0"), 100, echo).unwrap();
        assert_eq!(reply.data, b"a=b\0");
        assert!(reply.is_final);
    }
}
