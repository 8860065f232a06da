# Two commands do everything on a fresh machine (Debian, Python 3.11 with venv, make): `make run` and `make test`.
# PYTHON=... names the Python to use; without it the fastest 3.11 of the machine is taken.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?=
BIN := .venv/bin

.PHONY: setup tools run test check unit simulate chaos chaos-random long versions large-state bench bench-large-state bench-groups bench-group-consumers bench-memory bench-failover bench-reshaping bench-reshaping-broken bench-rolling bench-scale bench-callbacks bench-compare bench-authentication attack fuzz bench-peers bench-queues bench-growth fresh-machine clean

setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml client/pyproject.toml
	@scripts/setup "$(PYTHON)"

tools: setup ## what fault injection needs besides, fetched and built once
	@$(BIN)/floodmark chaos setup -o name

run: setup
	@$(BIN)/floodmark dev --take-terminal --data data --flights examples/flights/flights-2013-01.csv.gz

check: setup ## format, lint, types and import rules
	@scripts/check

unit: tools ## the tests alone
	@scripts/test

test: tools ## everything that must hold before a change lands
	@scripts/check
	@scripts/test

SEEDS ?= 1000
SECONDS_MAX ?= 3600
simulate: setup ## random clusters from SEEDS seeds on all cores, for at most SECONDS_MAX
	@scripts/simulate --seeds $(SEEDS) --seconds $(SECONDS_MAX)
	@for first in 1000000 2000000 3000000; do \
		scripts/simulate --first $$first --seeds $$(($(SEEDS) / 5)) --seconds $(SECONDS_MAX) || exit 1; done

CHAOS_SECONDS_MAX ?= 3600
chaos: setup ## every chaos scenario and the whole fault matrix, within CHAOS_SECONDS_MAX; one table at the end
	@$(BIN)/floodmark chaos matrix --seconds-max $(CHAOS_SECONDS_MAX)

chaos-random: setup ## random chaos from one seed after the other, three and five nodes, for CHAOS_SECONDS_MAX
	@$(BIN)/floodmark chaos seeds --seconds-max $(CHAOS_SECONDS_MAX)

ROUNDS ?= 3
long: tools ## tests that take more time than `make test` has: runbooks as they are written, more seeds and faults; some minutes
	@$(BIN)/python -m pytest -m long

versions: setup ## nodes of this build beside older ones: to this build and back under load, ROUNDS times; some minutes
	@$(BIN)/python -m pytest tests/versions --rounds $(ROUNDS)

LARGE_STATE_OPTIONS ?=
large-state: setup ## nodes killed in the middle of checkpoints and installs of a state of 200 MB; some twelve minutes
	@$(BIN)/python -m tests.process.large_state $(LARGE_STATE_OPTIONS)

bench: setup ## speed of three nodes on this machine, client included; about four minutes
	@$(BIN)/python -m bench.cluster
	@$(BIN)/python -m bench.raw_fetch

bench-memory: setup ## what nodes need of memory while 10 GB go through them; some minutes, 15 GB of disk
	@$(BIN)/python -m bench.node_memory

LARGE_BENCH_OPTIONS ?=
bench-large-state: setup ## what a checkpoint and an install of 200 MB take, and what other writes see of it; about two minutes
	@$(BIN)/python -m bench.large_state $(LARGE_BENCH_OPTIONS)

GROUPS_BENCH_OPTIONS ?=
bench-groups: setup ## memory, files and commit latency of a million committed offsets in ten thousand groups; a minute
	@$(BIN)/python -m bench.groups $(GROUPS_BENCH_OPTIONS)

bench-group-consumers: setup ## in a group beside plainly, 100 members that join, commits, a coordinator killed; beside Kafka and NATS JetStream; eight minutes
	@$(BIN)/python -m bench.group_consumers $(GROUPS_BENCH_OPTIONS)

bench-failover: setup ## how long writes are interrupted: 30 leaders killed, 15 stopped, 10 majorities paused; about eight minutes
	@$(BIN)/python -m bench.failover

ROLLING_OPTIONS ?=
bench-reshaping: setup ## three nodes become five and other three under 20 MB/s, restarts and a lost disk included: nothing lost, the longest gaps; two minutes
	@$(BIN)/python -m bench.reshaping

bench-reshaping-broken: setup ## moves under 20 MB/s, broken in the middle: controller, drained node and learner killed, one-way cuts; nothing lost, the longest gaps; three minutes
	@$(BIN)/python -m bench.reshaping_broken

bench-rolling: setup ## every node restarted in turn under 20 MB/s: nothing lost, no request fails, the longest gap; two minutes
	@$(BIN)/python -m bench.rolling $(ROLLING_OPTIONS)

SCALE_OPTIONS ?=
bench-scale: setup ## 1,000 partitions x 3: creating, idling, memory, a kill -9, a restart, 100 clients, 300 moves; five minutes
	@$(BIN)/python -m bench.scale $(SCALE_OPTIONS)

ATTACK_OPTIONS ?=
attack: setup ## attacks by strangers, and what honest clients notice of them (ATTACK_OPTIONS=--secure: users attack users, through TLS); some minutes
	@$(BIN)/python -m bench.attack $(ATTACK_OPTIONS)

SECONDS ?= 60
FUZZ_OPTIONS ?=
fuzz: setup ## every fuzz target for SECONDS, on one core; what reaches new code goes into tests/fuzz/corpus
	@$(BIN)/python -m pip install --quiet --no-deps --require-hashes --upgrade --target .tools/fuzz -r tests/fuzz/requirements.lock
	@PYTHONPATH=.tools/fuzz $(BIN)/python -m tests.fuzz --seconds $(SECONDS) $(FUZZ_OPTIONS)

CALLBACKS_OPTIONS ?=
bench-callbacks: setup ## the costliest callback of the event loop for each kind of request; about five minutes
	@$(BIN)/python -m bench.callbacks $(CALLBACKS_OPTIONS)

COMPARE_OPTIONS ?=
bench-compare: setup ## BASE=another checkout: what requests and records cost the processors there and here; twenty minutes
	@$(BIN)/python -m bench.compare --base $(BASE) $(COMPARE_OPTIONS)

bench-authentication: setup ## what a produce of one record costs with a token and without one; three minutes
	@$(BIN)/python -m bench.authentication $(AUTHENTICATION_OPTIONS)

PEERS_OPTIONS ?=
bench-peers: setup ## beside NATS JetStream, Kafka, Redis Streams, etcd; about 30 minutes (PEERS_OPTIONS=--quick: four)
	@$(BIN)/python -m bench.peers $(PEERS_OPTIONS)

QUEUES_OPTIONS ?=
bench-queues: setup ## queues beside NATS JetStream and Redis Streams, a million delayed records; half an hour (QUEUES_OPTIONS=--quick: four minutes)
	@$(BIN)/python -m bench.queues $(QUEUES_OPTIONS)

GROWTH_OPTIONS ?=
bench-growth: setup ## against partitions, sizes, connections, log, replicas, nodes; 20 minutes (GROWTH_OPTIONS=--quick: three)
	@$(BIN)/python -m bench.growth $(GROWTH_OPTIONS)

fresh-machine: ## root: `make run` and `make test` on a bare Debian 12 in a folder; about half an hour
	@scripts/fresh-machine

clean:
	rm -rf .venv data dist build .pytest_cache .mypy_cache .ruff_cache
