"""What clients do to a cluster under test, every operation of it recorded in a history.

workload.py     starts and ends all of it
site.py         what the tasks share: where the cluster is, what is written to, how fast
recorder.py     writes the history, and keeps count for whoever watches
outcome.py      which errors say that nothing was done
producers.py    records: through the client's Producer, and by single requests
consumers.py    polls: on and on, and from the start again and again; tails
pauses.py       when nobody asks, so that groups sleep
topic_admin.py  topics that are made, altered, described and deleted
sampler.py      who leads what in which term, asked of every node
"""
