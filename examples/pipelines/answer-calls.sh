#!/bin/bash
# SPDX-License-Identifier: ISC
# A program in any language answers calls: a line for each line. An error of its own is a status on descriptor 3.
# shellcheck source=examples/pipelines/common.bash disable=SC1091
. "${0%/*}/common.bash"

cat >price <<'EOF'
#!/bin/bash
while read -r article; do
	[ "$article" != gone ] || echo 404 >&3
	echo "price of $article"
done
EOF
chmod +x price
evpipe kread -g shop requests '|' evcorr serve -P 4 -- ./price '|' kwrite -p have &
printf '{"payload":"%s"}\n' apple gone pear | evcorr stamp --reply-to replies/1 | kwrite -t requests
replies() {
	kread -q -e -p 1 replies |
		jq -r '.headers as $h | $h[$h | index("status") + 1] + " " + .payload' | sort >got
	has_lines got 3
}
until_true replies
diff got - <<'EOF'
200 price of apple
200 price of pear
404 price of gone
EOF
stop $!
