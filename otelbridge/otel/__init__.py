"""From the spool to collectors: mapping to OTLP, resources, delivery, the loss ledger."""
