#!/bin/sh
# Runs every fuzz target of the module for the time given: fuzz.sh 30s
set -eu
go list ./... | while read -r package; do
    go test -list '^Fuzz' "$package" | grep '^Fuzz' | while read -r target; do
        echo "$package $target"
        go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" -fuzzminimizetime 10x "$package"
    done
done
