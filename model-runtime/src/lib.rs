//! Fused operators for burn's Flex CPU backend. No HTTP, no images.
