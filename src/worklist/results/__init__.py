"""Places for results that are no brokers, for brokers that keep none. Importing this package needs no driver."""
