# The script of `helm test`: one life of a reservation, through the service that clients use. It leaves the
# stock as it was.
set -eu
sku=CHART-TEST warehouse=CHART-TEST

fail() {
    echo "failed: $*" >&2
    exit 1
}
reserve() {
    answer=$(holdfast --json reserve "$sku=1" --warehouse "$warehouse" --storefront chart-test --ttl 5m --reference "$1")
    reservation=$(printf '%s' "$answer" | sed -n 's/.*"reservation_id":"\([^"]*\)".*/\1/p')
    test -n "$reservation" || fail "no reservation id in: $answer"
}
expect() {
    answer=$(holdfast --json get "$reservation")
    case $answer in
        *"\"state\":\"$1\""*) echo "$reservation is $1" ;;
        *) fail "expected $1, got: $answer" ;;
    esac
}

holdfast cluster status
holdfast stock receive "$sku" --warehouse "$warehouse" --quantity 2 --reference chart-test

reserve chart-test-sold
expect held
holdfast commit "$reservation"
expect committed
holdfast cancel "$reservation" --reason chart-test
expect cancelled

reserve chart-test-dropped
expect held
holdfast release "$reservation" --reason chart-test
expect released

holdfast stock adjust "$sku" --warehouse "$warehouse" --delta -2 --reason chart-test
echo "the cluster reserves, commits, reads and releases"
