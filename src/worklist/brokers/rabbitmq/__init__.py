"""The queue on RabbitMQ. Importing this package needs no driver; importing its broker does."""
