mod bench;
mod compatibility;
mod faults;
mod trust;

crate::transport_contract!(bench::Cluster::new());
