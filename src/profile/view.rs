//! The whole profile as JSON, for `state get` and `replay --profiles`.
