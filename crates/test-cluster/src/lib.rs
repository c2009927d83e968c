//! Real nodes on loopback with certificates made for the test.
