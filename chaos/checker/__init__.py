"""Did the cluster keep its promises? One module per idea; ``check`` asks all of them."""
