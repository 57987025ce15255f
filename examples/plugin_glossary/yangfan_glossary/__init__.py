"""A plugin for Yangfan: explains the words of one's own house."""
