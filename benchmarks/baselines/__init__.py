"""Serving policies without a model of the server, which `slo` is compared with. They are not part of the product."""
