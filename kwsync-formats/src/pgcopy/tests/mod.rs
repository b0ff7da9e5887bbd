mod faults;
mod server;
