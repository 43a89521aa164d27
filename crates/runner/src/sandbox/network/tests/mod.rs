//! A host with neighbours, all made of network namespaces: nothing of the real host's network is touched.

mod firewalls;
mod raw;
mod reach;
mod runners;
mod services;
mod walls;
mod world;
