//! What tests of this module share.
