#!/usr/bin/env bash
# Proves an extraction on Slurm with the real thing: starts munge, slurmctld and two
# slurmd of one processor core each on this machine, extracts photographs with "slurm
# submit", kills a node and a worker in mid-run, and compares the sealed store with that
# of one process, byte for byte. Then measures two nodes against one. Prints a table.
#
# usage: scripts/prove_slurm.sh [chaos] [throughput]        (both; 15 minutes)
#
# Needs root on Debian (it installs Slurm 22.05 or newer with apt-get) and two cores. It
# uses nothing of a Slurm that is there already. PHOTOGRAPHS, MODEL and WEIGHTS can be set.
set -euo pipefail
cd "$(dirname "$0")/.."

: "${PHOTOGRAPHS:=400}" "${MODEL:=timedecay_shallow}" "${WEIGHTS:=seeded:1}"
parts=" ${*:-chaos throughput} "

if ! command -v slurmctld slurmd munged sbatch >/dev/null; then
	apt-get update -qq
	# Debian would start the daemons, with a configuration that is not there.
	DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends slurmctld slurmd slurm-client munge >/dev/null
fi

dir=$(mktemp -d)
chmod 755 "$dir"
export SLURM_CONF="$dir/slurm.conf"
table=()

say() { echo "$(date +%T) $*" >&2; }

die() {
	say "$*"
	tail -n 20 "$dir"/log/* "$dir"/*.slurm/*.log >&2 || true
	exit 1
}

# What runs under our configuration, by the environment that Slurm gives it: the
# worker and the batch script of a node.
processes_of() {
	local environment
	for environment in /proc/[0-9]*/environ; do
		if tr '\0' '\n' 2>/dev/null <"$environment" | grep -qx "SLURMD_NODENAME=$1" &&
			tr '\0' '\n' 2>/dev/null <"$environment" | grep -qx "SLURM_CONF=$SLURM_CONF"; then
			environment=${environment#/proc/}
			echo "${environment%/environ}"
		fi
	done
}

# The workers among them.
workers_of() {
	local process
	for process in $(processes_of "$1"); do
		if [ "$(readlink "/proc/$process/exe")" = "$dir/tfconvrnn-cli" ]; then
			echo "$process"
		fi
	done
}

kill_node() {
	local process parents=''
	# slurmstepd first: it would report the end of the script that it watches.
	kill -KILL "$(cat "$dir/$1.pid")"
	for process in $(processes_of "$1"); do
		parents="$parents $(awk '/^PPid:/ {print $2}' "/proc/$process/status" 2>/dev/null || true)"
	done
	for process in $parents; do
		if [ "$(cat "/proc/$process/comm" 2>/dev/null)" = slurmstepd ]; then
			kill -KILL "$process" || true
		fi
	done
	for process in $(processes_of "$1"); do
		kill -KILL "$process" 2>/dev/null || true
	done
}

cleanup() {
	local node
	for node in node0 node1; do
		if [ -e "$dir/$node.pid" ]; then
			kill_node "$node" 2>/dev/null || true
		fi
	done
	if [ -e "$dir/slurmctld.pid" ]; then kill "$(cat "$dir/slurmctld.pid")" || true; fi
	if [ -e "$dir/munge/pid" ]; then kill "$(cat "$dir/munge/pid")" || true; fi
	sleep 1
	rm -rf "$dir" || true
}
trap cleanup EXIT
trap 'exit 130' INT TERM

# A node is a slurmd that is confined to one core, and with it all that it starts.
start_node() {
	taskset -c "${1#node}" slurmd -N "$1" || die "slurmd -N $1 does not start"
}

start_slurm() {
	local host node
	host=$(hostname -s)
	mkdir -p "$dir"/{munge,state,log,spool/node0,spool/node1}
	(umask 077 && head -c 1024 /dev/urandom >"$dir/munge/key")
	munged --force --key-file="$dir/munge/key" --socket="$dir/munge/socket" --pid-file="$dir/munge/pid" \
		--log-file="$dir/munge/log" --seed-file="$dir/munge/seed"
	cat >"$SLURM_CONF" <<-END
		ClusterName=proof
		SlurmctldHost=$host(127.0.0.1)
		SlurmctldPort=36817
		SlurmUser=root
		SlurmdUser=root
		AuthType=auth/munge
		CredType=cred/munge
		AuthInfo=socket=$dir/munge/socket
		StateSaveLocation=$dir/state
		SlurmdSpoolDir=$dir/spool/%n
		SlurmctldPidFile=$dir/slurmctld.pid
		SlurmdPidFile=$dir/%n.pid
		SlurmctldLogFile=$dir/log/slurmctld
		SlurmdLogFile=$dir/log/%n
		# No control groups: they may not be ours to make.
		ProctrackType=proctrack/linuxproc
		TaskPlugin=task/none
		JobAcctGatherType=jobacct_gather/none
		AccountingStorageType=accounting_storage/none
		MpiDefault=none
		SelectType=select/cons_tres
		SelectTypeParameters=CR_CPU
		SlurmdParameters=config_overrides
		# A node that does not answer is given up soon, and taken back when it does.
		SlurmdTimeout=10
		ReturnToService=2
		KillWait=5
		NodeName=node0 NodeHostname=$host NodeAddr=127.0.0.1 Port=36821 CPUs=1 RealMemory=4000 State=UNKNOWN
		NodeName=node1 NodeHostname=$host NodeAddr=127.0.0.1 Port=36822 CPUs=1 RealMemory=4000 State=UNKNOWN
		PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
	END
	# slurmd loads a plugin for control groups even if nothing uses it; which ones there
	# are depends on its version and on the machine.
	local plugin
	for plugin in disabled cgroup/v1 cgroup/v2; do
		echo "CgroupPlugin=$plugin" >"$dir/cgroup.conf"
		if [ $plugin = cgroup/v2 ]; then echo "IgnoreSystemd=yes" >>"$dir/cgroup.conf"; fi
		if taskset -c 0 slurmd -N node0 2>/dev/null && sleep 2 && kill -0 "$(cat "$dir/node0.pid" 2>/dev/null || echo x)" 2>/dev/null; then
			break
		fi
	done
	if [ ! -e "$dir/node0.pid" ]; then die "slurmd does not start"; fi
	slurmctld -c || die "slurmctld does not start"
	start_node node1
	for _ in $(seq 60); do
		if [ "$(sinfo -h -t idle -o %D)" = 2 ]; then return; fi
		sleep 1
	done
	die "the nodes do not come up: $(sinfo)"
}

# job ID FIELD: what Slurm says about a job.
job() { scontrol -o show job "$1" | tr ' ' '\n' | sed -n "s/^$2=//p" | head -n 1; }

# plan NAME [FLAGS…]
plan() {
	local name=$1
	shift
	"$dir/tfconvrnn-cli" extract plan --quiet --plan "$dir/$name.plan" --out "$dir/$name.zarr" "${extraction[@]}" "$@" "$dir/photographs" >/dev/null
}

# submit NAME FLAGS…: prints the ids of the two jobs.
submit() {
	local name=$1
	shift
	"$dir/tfconvrnn-cli" slurm submit --json --plan "$dir/$name.plan" --store "$dir/store" "$@" |
		sed -n 's/.*"\(work\|finish\)_job": "\([0-9]*\)".*/\2/p'
}

# wait_for FINISH-JOB
wait_for() {
	local state
	while true; do
		state=$(job "$1" JobState)
		case $state in
		COMPLETED) return ;;
		PENDING | RUNNING | COMPLETING | CONFIGURING) sleep 0.2 ;;
		*) die "job $1: $state" ;;
		esac
	done
}

# compare NAME: with the store of one process.
compare() {
	diff -r "$dir/reference.zarr" "$dir/$1.zarr" || die "$1.zarr differs from reference.zarr"
	say "$1: equal to the store of one process, $(find "$dir/$1.zarr" -type f | wc -l) files"
}

chunks_done() {
	"$dir/tfconvrnn-cli" extract status --json --plan "$dir/$1.plan" | sed -n 's/.*"done": \([0-9]*\).*/\1/p' | head -n 1
}

say "building; making $PHOTOGRAPHS photographs"
go build -o "$dir/tfconvrnn-cli" ./cmd/tfconvrnn-cli
"$dir/tfconvrnn-cli" runtime install --quiet >/dev/null
go run ./scripts/photographs "$dir/photographs" "$PHOTOGRAPHS"
extraction=(--model "$MODEL" --weights "$WEIGHTS" --store "$dir/store" --batch 8 --threads 1 --layers all --include-logits)
say "one process without Slurm"
taskset -c 0 "$dir/tfconvrnn-cli" extract --quiet --out "$dir/reference.zarr" "${extraction[@]}" "$dir/photographs" >/dev/null
say "starting Slurm: $(slurmctld -V)"
start_slurm

if [[ $parts == *" chaos "* ]]; then
	plan chaos
	# Awkward names on purpose.
	mapfile -t jobs < <(submit chaos --workers 8 --time 30 --folder "$dir/it's \"a\" \$(folder) #1 %A.slurm")
	say "jobs ${jobs[*]}: 8 workers on two nodes, and the one after them"
	until [ "$(chunks_done chaos)" -ge 2 ]; do sleep 0.2; done
	worker=''
	until [ -n "$worker" ]; do worker=$(workers_of node0 | head -n 1); done
	kill -KILL "$worker"
	say "$(chunks_done chaos) chunks done: killed worker $worker on node0"
	until [ "$(chunks_done chaos)" -ge 4 ] && [ -n "$(workers_of node1)" ]; do sleep 0.2; done
	kill_node node1
	say "$(chunks_done chaos) chunks done: killed node1 with all that runs there"
	until [ "$(sinfo -h -n node1 -t down -o %D)" = 1 ]; do sleep 0.5; done
	say "$(chunks_done chaos) chunks done: Slurm has noticed; node1 comes back"
	rm -f "$dir/node1.pid"
	start_node node1
	wait_for "${jobs[1]}"
	compare chaos
	restarts=$(cat "$dir"/it*.slurm/*.log | grep -c -e 'it goes on when its turn' -e 'NODE FAILURE' || true)
	table+=("worker and node killed|$PHOTOGRAPHS photographs, 8 workers, $restarts restarted: equal bytes")
fi

if [[ $parts == *" throughput "* ]]; then
	seconds=()
	for nodes in 1 2; do
		name=nodes$nodes
		plan $name
		mapfile -t jobs < <(submit $name --workers $nodes)
		until [ -n "$(squeue -h -j "${jobs[0]}" -t RUNNING)" ]; do sleep 0.1; done
		begun=$(date +%s.%N)
		while [ -n "$(squeue -h -j "${jobs[0]}")" ]; do sleep 0.2; done
		seconds+=("$(awk "BEGIN {print $(date +%s.%N) - $begun}")")
		wait_for "${jobs[1]}"
		compare $name
		say "$nodes nodes: ${seconds[-1]} s from the first worker's start to the last one's end"
		table+=("$nodes nodes of one core|$(awk "BEGIN {printf \"%.1f s, %.2f photographs/s\", ${seconds[-1]}, $PHOTOGRAPHS / ${seconds[-1]}}")")
	done
	table+=("two nodes against one|$(awk "BEGIN {printf \"%.2f times the throughput\", ${seconds[0]} / ${seconds[1]}}"), starting included")
fi

printf '\n%-28s %s\n' "$MODEL, $WEIGHTS" "$(slurmctld -V)"
for row in "${table[@]}"; do
	printf '%-28s %s\n' "${row%%|*}" "${row#*|}"
done
