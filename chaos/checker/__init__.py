"""Did the cluster keep its promises? One module per promise; ``check`` runs all of them."""
