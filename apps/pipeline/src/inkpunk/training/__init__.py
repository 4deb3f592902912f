"""Adapters, trained: a plain network learns in matrices of low rank that lie beside its layers."""
