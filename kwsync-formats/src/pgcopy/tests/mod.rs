mod faults;
mod round_trip;
mod server;
