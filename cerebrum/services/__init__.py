"""The federation: controller (GCC), agent (LCA), their store, their protocol, their HTTP shells."""
