"""What clients do to a cluster under test, every operation of it recorded in a history.

workload.py     starts and ends all of it
site.py         what the tasks share: where the cluster is, what is written to, how fast
recorder.py     writes the history, and keeps the figures for the live view
outcome.py      which errors say that nothing was done
producers.py    records: through the client's Producer, and by single requests
consumers.py    polls that follow the log, and that reread it from the start; tails
pauses.py       times without requests, so that groups sleep
topic_admin.py  topics that are created, altered, described and deleted
sampler.py      leaders and terms, according to every node
"""
