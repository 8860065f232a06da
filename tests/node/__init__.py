"""Tests of a node, from its pure parts to three of them over real sockets."""
