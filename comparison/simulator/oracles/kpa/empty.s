// Lets oracle_test.go declare functions without a body (go:linkname).
