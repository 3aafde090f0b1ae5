//! The discovery log page (NVMe base 2.0 section 5.16.1.23).
