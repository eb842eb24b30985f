"""Protobuf messages: own minimal .proto files and what deploy/gen-messages makes of them."""
