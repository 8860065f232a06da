"""Toxiproxy: a real TCP proxy between the nodes, whose connections can be slowed, cut and broken.

binary.py   finds its server, or builds it
server.py   runs it
control.py  tells it what to do, through toxiproxy-python
"""
