/* SPDX-License-Identifier: ISC */
#define JSON_NO_SIMD 1
#define json_init plain_json_init
#define json_parse plain_json_parse
#define json_enter plain_json_enter
#define json_next plain_json_next
#define json_name plain_json_name
#define json_key plain_json_key
#define json_member plain_json_member
#define json_member_named plain_json_member_named
#define json_element plain_json_element
#define json_peek plain_json_peek
#define json_done plain_json_done
#define json_is plain_json_is
#define json_equals plain_json_equals
#define json_unescape plain_json_unescape
#define json_string plain_json_string
#define json_escape plain_json_escape
#define json_may_hold plain_json_may_hold
#define json_seek plain_json_seek
#define json_utf8 plain_json_utf8
#define json_value plain_json_value
#define json_fail plain_json_fail
#define json_long_string plain_json_long_string
#define json_escape_valid plain_json_escape_valid
#include "../../lib/json/json.c"
#include "../../lib/json/json-escape.c"
#include "../../lib/json/json-string.c"
#include "../../lib/json/json-unescape.c"
