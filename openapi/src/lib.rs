//! The HTTP contract: wire types, problem documents and the document's frame.
