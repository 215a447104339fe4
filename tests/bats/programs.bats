#!/usr/bin/env bats
# SPDX-License-Identifier: ISC
# What holds for every program: the command line, the standard descriptors, messages, metrics.

load helpers

PROGRAMS=(evack evbatch evfmt evreplay evtop evkey evsel evstamp kcheck khttp kmock kread kwrite rapply rpub rsub)

setup_file() {
	kmock_start -t events:1 -t written:1
	redis_start
}

# Operands and options with which a program has something to do. Called in the test's own shell: sets $args.
args_of() {
	case $1 in
	evack | evfmt | evreplay | evtop) args=() ;;
	evbatch) args=(cat) ;;
	evchain) args=(append log) ;;
	evkey) args=(.a) ;;
	evsel) args=(.payload.a) ;;
	evstamp) args=(--drop x) ;;
	kcheck) args=(--timeout 30s) ;;
	khttp) args=(--listen unix:web --management none) ;;
	kmock) args=(-t "t:1") ;;
	kread) args=(-e events) ;;
	kwrite) args=(-t written) ;;
	rapply) args=(--position none --as string) ;;
	rpub | rsub) args=(news) ;;
	esac
}

# complains PROGRAM STATUS PART: the program said one sentence with PART in it, and ended so. Reads
# $status and err.
complains() {
	cat err
	[ "$status" -eq "$2" ]
	[[ $(cat err) == "$1: "*"$3"* ]]
	[ "$(wc -l <err)" -eq 1 ]
}

# attempt COMMAND…: with an end to it; its status to $status, its messages to err.
attempt() {
	status=0
	timeout -s KILL 120 "$@" 2>err || status=$?
}

# ---- the command line ----

@test "--help prints usage, options, examples and exit statuses, and nothing else happens" {
	for program in "${PROGRAMS[@]}" evpipe; do
		attempt "$program" --help >out
		[ "$status" -eq 0 ]
		[ ! -s err ]
		grep -q "^Usage: $program \[" out
		grep -q '^Examples:$' out
		grep -q '^Exit status: 0 done, 1 records were refused, 99 timed out, 100 permanent' out
		for option in --help --version --log --metrics --ready-fd; do
			grep -q -e " $option" out
		done
		attempt "$program" -h >again
		cmp out again
		attempt "$program" --nonsense --help --also >again
		cmp out again
	done
}

@test "--version prints the program's name and the version of all" {
	for program in "${PROGRAMS[@]}" evpipe; do
		attempt "$program" --version >out
		[ "$status" -eq 0 ]
		[ ! -s err ]
		[[ $(head -n 1 out) =~ ^$program\ \(evpipe\)\ [0-9]+\.[0-9]+(\.[0-9]+)?$ ]]
		sed "s/^$program //;q" out >>versions
		# Then a line for each library by which programs differ.
		case $program in
		khttp) libraries='^(librdkafka|libmicrohttpd|OpenSSL) [0-9]+\.[0-9.]+$|^libjq( [0-9.]+)?$' ;;
		k*) libraries='^(librdkafka|OpenSSL) [0-9]+\.[0-9.]+$' ;;
		r*) libraries='^(hiredis|OpenSSL) [0-9]+\.[0-9.]+$' ;;
		evkey | evsel) libraries='^libjq( [0-9.]+)?$' ;;
		evtop) libraries='^OpenSSL [0-9]+\.[0-9.]+$' ;;
		evpipe) libraries='^libmicrohttpd [0-9]+\.[0-9.]+$' ;;
		*) libraries= ;;
		esac
		case $program in
		kread | kwrite | kcheck | khttp | r*) grep -q ^OpenSSL out ;;
		esac
		if [ -n "$libraries" ]; then
			[ "$(wc -l <out)" -ge 2 ]
			run ! grep -vE "$libraries" <(sed 1d out)
		else
			[ "$(wc -l <out)" -eq 1 ]
		fi
	done
	[ "$(sort -u versions | wc -l)" -eq 1 ]
}

@test "--help and --version into a full device or a closed descriptor are an error" {
	for program in "${PROGRAMS[@]}" evpipe; do
		for option in --help --version; do
			attempt "$program" "$option" >/dev/full
			complains "$program" 111 "cannot write standard output: No space left on device"
			attempt "$program" "$option" >&-
			complains "$program" 111 "cannot write standard output: Bad file descriptor"
		done
	done
}

@test "an unknown option is wrong usage, in one sentence that names the help" {
	for program in "${PROGRAMS[@]}"; do
		args_of "$program"
		attempt "$program" "${args[@]}" --nonsense </dev/null >out
		complains "$program" 100 "--nonsense"
		[[ $(cat err) == *"try '$program --help'" ]]
		[ ! -s out ]
	done
}

@test "an option that is meant once and given twice is wrong usage" {
	for program in "${PROGRAMS[@]}"; do
		args_of "$program"
		attempt "$program" "${args[@]}" --metrics a --metrics b </dev/null >out
		complains "$program" 100 "--metrics is given twice"
		[ ! -s out ]
	done
}

@test "an empty value is wrong usage" {
	for program in "${PROGRAMS[@]}"; do
		args_of "$program"
		attempt "$program" "${args[@]}" --metrics= </dev/null >out
		complains "$program" 100 "--metrics"
	done
}

# words PROGRAM [COMMAND] <rows "words|what is said of them": each is wrong usage and nothing else happens.
words() {
	local row
	while IFS= read -r row; do
		# shellcheck disable=SC2086 # words
		attempt "$@" ${row%%|*} </dev/null >out
		complains "$1" 100 "${row#*|}"
		[[ $(<err) != *s3cret* ]]
		[ ! -s out ]
	done
}

@test "a value where none is taken, an option given too often, names that are none or two" {
	for program in "${PROGRAMS[@]}" evpipe evsse "evchain append" "evcorr stamp"; do
		# shellcheck disable=SC2086 # a program, and its command
		words $program <<<"--hel=a=b|--hel takes no value: leave '=a=b' away"
	done
	words evsel <<-'END'
		--version=|--version takes no value: leave '=' away
		-q=1|-q takes no value: leave '=1' away
		-vq=|-q takes no value: leave '=' away
		--log json --lo=json|--log is given twice
		-qq|-q is given twice
		-vv -vv|-v is given more than 3 times
		--met=|--met takes a value that is not empty
		--metrics --log=json|--metrics takes FILE, and '--log=json' is an option
		--typo=redis://u:s3cret@h|invalid option "--typo"
		--verbose|there is no option --verbose: -v says more
		--quiet=s3cret|there is no option --quiet: -q says errors alone
		-q -- --quiet=1|'--quiet=1' is not a jq expression
	END
	words kwrite <<<"--ke=x|--ke may be --key or --key-type"
	words kread <<<"--follow-new=yes t|--follow-new takes no value: leave '=yes' away"
}

@test "--log takes text and json and nothing else" {
	for program in "${PROGRAMS[@]}"; do
		args_of "$program"
		attempt "$program" "${args[@]}" --log xml </dev/null >out
		complains "$program" 100 "'xml'"
	done
}

@test "--log json makes each message a JSON object on a line" {
	for program in "${PROGRAMS[@]}"; do
		args_of "$program"
		attempt "$program" "${args[@]}" --log json --ready-fd 99 </dev/null >out
		[ "$status" -eq 100 ]
		[ "$(wc -l <err)" -eq 1 ]
		[ "$(jq -r '.level + " " + .tool' err)" = "error $program" ]
		[[ $(jq -r .message err) == *"try '$program --help'" ]]
	done
}

@test "--ready-fd takes only a descriptor that is open and above 2" {
	for program in "${PROGRAMS[@]}"; do
		args_of "$program"
		for fd in 1 2 99 -1 x; do
			attempt "$program" "${args[@]}" --ready-fd "$fd" </dev/null >out
			[ "$status" -eq 100 ]
			[ ! -s out ]
		done
	done
}

@test "--max-line and durations must be of their form" {
	for program in evack evbatch evchain evfmt evreplay evtop evkey evsel evstamp kwrite rapply rpub rsub; do
		args_of "$program"
		for size in 1k 1.5M -1 '' 12x; do
			attempt "$program" "${args[@]}" --max-line "$size" </dev/null >out
			[ "$status" -eq 100 ]
		done
	done
	for program in kread rsub; do
		args_of "$program"
		attempt "$program" "${args[@]}" --idle-exit 5min </dev/null >out
		complains "$program" 100 "--idle-exit"
	done
}

@test "an option or operand that may be repeated may be repeated thousands of times" {
	many() { mapfile -t many < <(seq -f "$1" 2500); }
	echo '{"topic":"t","payload":"x"}' >in
	many '--drop=d%g'
	[ "$(evstamp "${many[@]}" <in)" = "$(cat in)" ]
	many '--only=o%g'
	[ "$(evstamp "${many[@]}" <in | wc -l)" -eq 0 ]
	many w%g
	[ "$(evbatch -- sh -c 'shift 2499; echo "{\"payload\":\"$1\"}"' sh "${many[@]}" <in)" = '{"payload":"w2500"}' ]
	[ "$(evpipe sh -c 'shift 4999; echo $1' sh "${many[@]}" "${many[@]}")" = w2500 ]
	many '-Xclient.id=%g'
	attempt kread -e "${many[@]}" events >out
	[ "$status" -eq 0 ]
	many '--resolve=h%g:1:127.0.0.1'
	attempt kread -e "${many[@]}" events >out
	[ "$status" -eq 0 ]
	many '^none.%g'
	attempt kread -q -e "${many[@]}" events >out
	[ "$status" -eq 0 ]
	many '-tt%g:1'
	spawn mock kmock "${many[@]}"
	wait_lines mock.out 1
	[ "$(kcat -L -b "$(cat mock.out)" | grep -c '  topic "t')" -eq 2500 ]
	stop mock
}

# ---- standard descriptors ----

@test "a closed standard input is an error and not another file's descriptor" {
	for program in evack evbatch evchain evfmt evreplay evtop evkey evsel evstamp kwrite rapply rpub; do
		args_of "$program"
		attempt "$program" "${args[@]}" --dead-letter dead <&- >out
		complains "$program" 111 "cannot read standard input: Bad file descriptor"
		[ ! -s dead ]
	done
}

@test "a directory as standard input is an error" {
	for program in evack evbatch evchain evfmt evreplay evtop evkey evsel evstamp kwrite rapply rpub; do
		args_of "$program"
		attempt "$program" "${args[@]}" </ >out
		complains "$program" 111 "cannot read standard input: Is a directory"
	done
}

@test "a closed standard error changes nothing" {
	echo '{"key":"k","payload":"{\"a\":1}"}' >in
	for program in evack evbatch evchain evfmt evreplay evtop evkey evsel evstamp kwrite rapply rpub; do
		args_of "$program"
		echo "--- $program"
		{ cat in; echo nonsense; cat in; } >mixed
		status=0
		timeout -s KILL 120 "$program" "${args[@]}" --dead-letter "$program.dead" <mixed >out 2>&- || status=$?
		[ "$status" -eq 1 ]
		[ "$(jq -r .line "$program.dead")" = nonsense ]
		case $program in evack | evchain | evfmt | evtop) ;; ev*) [ "$(jq -r .payload out)" = $'{"a":1}\n{"a":1}' ] ;; esac
	done
}

# ---- metrics and readiness ----

# run_with_metrics PROGRAM: does a little with --metrics m, ends with 0 and has nothing to say.
run_with_metrics() {
	local args
	rm -f m
	status=0
	args_of "$1"
	case $1 in
	kmock)
		spawn with kmock "${args[@]}" --metrics m
		wait_lines with.out 1
		stop with
		wait_exit with
		;;
	khttp)
		spawn with khttp "${args[@]}" --metrics m
		wait_for 'grep -q "^evpipe_ready.* 1$" m'
		stop with
		wait_exit with
		;;
	rsub)
		spawn with rsub -c 1 "${args[@]}" --metrics m
		wait_for '[ "$(redis_subscribers news)" -eq 1 ]'
		rcli publish news hello
		wait_exit with
		;;
	*)
		echo '{"key":"k","payload":"{\"a\":1}"}' | "$1" "${args[@]}" --metrics m >out 2>with.err || status=$?
		;;
	esac
	cat with.err
	[ "$status" -eq 0 ]
	[ ! -s with.err ]
}

@test "--metrics writes a file that Prometheus can read, and leaves no other behind" {
	kproduce events <<<hello
	for program in "${PROGRAMS[@]}"; do
		echo "--- $program"
		run_with_metrics "$program"
		valid_metrics m
		run ! ls m.*
	done
}

@test "--metrics has the counters that each program is to have" {
	kproduce events <<<hello
	for program in "${PROGRAMS[@]}"; do
		echo "--- $program"
		run_with_metrics "$program"
		case $program in
		kcheck | khttp | kmock) names= ;;
		kread) names=records_out ;;
		rsub) names='records_in records_out errors' ;;
		evack | kwrite | rapply | rpub) names='records_in records_out errors dead_letters' ;;
		*) names='records_in records_out dropped errors dead_letters' ;;
		esac
		for name in records_in records_out dropped errors dead_letters; do
			if [[ " $names " == *" $name "* ]]; then
				grep -q "^evpipe_${name}_total{pipeline=\"evpipe\",tool=\"$program\"[,}]" m
			else
				run ! grep "${name}_total" m
			fi
		done
		for name in errors dead_letters; do
			[[ " $names " == *" $name "* ]] || continue
			for class in json-decode missing-key missing-field prefix-mismatch too-large loop \
				invalid-record kafka redis unknown-topic wrong-type timeout; do
				grep -q "^evpipe_${name}_total{.*,type=\"$class\"} 0$" m
			done
		done
		grep -q "^evpipe_ready{pipeline=\"evpipe\",tool=\"$program\"} [01]$" m
		grep -q "^evpipe_start_time_seconds{pipeline=\"evpipe\",tool=\"$program\"} [0-9]" m
		grep -q "^evpipe_build_info{pipeline=\"evpipe\",tool=\"$program\",version=\"[0-9.]*\"} 1$" m
		case $program in
		k[chrw]*) grep -q "^evpipe_up{pipeline=\"evpipe\",tool=\"$program\",peer=\"kafka\"} [01]$" m ;;
		r*) grep -q "^evpipe_up{pipeline=\"evpipe\",tool=\"$program\",peer=\"redis\"} [01]$" m ;;
		*) run ! grep _up m ;;
		esac
		case $program in
		evack | kwrite | rapply | rpub) grep -q '^evpipe_messages_forwarded_total{pipeline="evpipe"} 1$' m ;;
		*) run ! grep forwarded m ;;
		esac
		case $program in
		rpub) grep -q '^evpipe_receivers_zero_total{pipeline="evpipe"} 1$' m ;;
		rsub) grep -q '^evpipe_gaps_total{pipeline="evpipe"} 0$' m ;;
		esac
	done
}

@test "EVPIPE_NAME is a label, so that two directions are side by side and do not mix" {
	kproduce events <<<hello
	export EVPIPE_NAME='rev "bridge"\1'
	for program in "${PROGRAMS[@]}"; do
		echo "--- $program"
		run_with_metrics "$program"
		grep -qF "evpipe_ready{pipeline=\"rev \\\"bridge\\\"\\\\1\",tool=\"$program\"} " m
		run ! grep -E '^[^#]*(evpipe"|\{tool)' m
		valid_metrics m
	done
}

@test "EVPIPE_DIR gets the metrics of each program, and a file while it is ready" {
	export EVPIPE_DIR=$T/dir
	mkdir -p dir/metrics dir/ready
	for program in "${PROGRAMS[@]}"; do
		echo "--- $program"
		case $program in
		kcheck) args=(--watch) ;;
		kmock) args=(-t "t:1") ;;
		kread) args=(events) ;;
		*) args_of "$program" ;;
		esac
		EVPIPE_MEMBER=$program-2 spawn "$program" sh -c '
			program=$0; tail -f /dev/null | "$program" "$@"' "$program" "${args[@]}"
		wait_for '[ -e dir/ready/$program-2 ]'
		wait_file_contains "dir/metrics/$program-2.prom" "evpipe_ready{pipeline=\"evpipe\",tool=\"$program-2\"} 1"
		valid_metrics "dir/metrics/$program-2.prom"
		wait_for '[ "$(ls dir/metrics)" = "$program-2.prom" ]'
		kill -- -"$(pid_of "$program")"
		wait_exit "$program"
		wait_for '[ ! -e dir/ready/$program-2 ]'
		rm dir/metrics/*
	done
}

@test "metrics that cannot be written are told of, and nothing else fails" {
	echo '{"key":"k","payload":"{\"a\":1}"}' >in
	for program in evack evbatch evchain evfmt evreplay evtop evkey evsel evstamp kwrite rapply rpub; do
		args_of "$program"
		attempt "$program" "${args[@]}" --metrics nowhere/m <in >out
		complains "$program" 0 "warning: cannot write metrics to 'nowhere/m': No such file or directory"
	done
	# What is no file would be gone: as root, /dev/stderr.
	mkfifo pipe
	for program in evsel kread rpub evpipe; do
		args_of "$program"
		attempt "$program" --metrics pipe "${args[@]}" </dev/null
		complains "$program" 100 "--metrics takes a file, which is replaced again and again, and 'pipe' is none; try"
	done
	[ -p pipe ]
	touch there
	ln -s there link
	evsel true --metrics link <in >out
	[ -L link ]
	grep -q '^evpipe_records_in_total' there
}

@test "words of kcat, rpk and redis-cli, and mistyped ones, are answered with how it is written here" {
	local command words
	while IFS='|' read -r command words; do
		run -100 sh -c "$command </dev/null"
		[[ $output == *"$words"* ]] || { echo "$command: $output"; false; }
		[ "${#lines[@]}" -eq 1 ] || { echo "$command: $output"; false; }
	done <<-'EOT'
	kread -t orders -C|topics are operands: kread TOPIC
	kread -torders|topics are operands: kread TOPIC
	kread -C orders|kread always reads
	kread -G g orders|a group is -g: kread -g GROUP TOPIC
	kread -L|kcheck -L
	kread orders --offset=5|-o FROM
	kread -f %s orders|evfmt
	kwrite -P -t orders|kwrite always writes
	kwrite -t orders -K :|--key KEY
	kwrite -t orders --dead-leter f|did you mean --dead-letter?
	kread --foloow-new orders|did you mean --follow-new?
	rsub -h host -p 6379 news|-u redis://HOST:PORT
	rpub -a secret news|--password-file FILE
	rapply --tls|-u rediss://HOST:PORT
	evpipe -q kraed orders|did you mean kread?
	EOT
	run -100 kread --zzzz orders
	[ "$output" = "kread: invalid option \"--zzzz\"; try 'kread --help'" ]
	run -0 rsub -h
	# A value or an operand is no option of another program.
	run -100 kread -e --key-type -t -- -t
	[[ $output != *operands* ]]
}
