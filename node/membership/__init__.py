"""Who this node is, who belongs to the cluster, and who is there.

The own folder: ``identity`` (what stands on disk), ``kept_identity`` (changing it), ``boots`` (how
often it was started), ``own_folder`` (what of it is told to others), ``registry`` (which replicas it
has had and which nodes it has met: an append-only file).

Node discovery: ``announcement`` (what nodes say of themselves when a link stands), ``discovery``
(hearing it, and what follows), ``judge`` with ``belonging``, ``formation`` and ``epochs`` (whom to
refuse), ``refused`` (who was), ``seeds`` and ``joining`` (an empty folder comes to a cluster),
``registrations`` (what the metadata's leader tells the cluster of nodes that it met), ``dialer`` (whom
this node connects to, and where).

Members: ``roster`` (the cluster's nodes, as this one knows them), ``node_list`` (as users see them).

Liveness: ``liveness`` (who is heard, and for how long others have been silent).
"""
