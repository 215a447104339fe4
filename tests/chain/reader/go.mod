// SPDX-License-Identifier: ISC
module evpipe/tests/chain/reader

go 1.19

require golang.org/x/mod v0.12.0
