//! The dispatcher through its public words.

mod abuse;
mod bad_input;
mod echo;
mod fixture;
mod grpc;
mod http;
mod http_app;
mod middleware;
mod outbound;
mod pages;
mod procedures;
mod websocket;
