//! Certificates to mutual-TLS configurations, SPIFFE IDs read back and checked.
