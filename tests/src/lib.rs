//! Tests of whole processes, from outside.
