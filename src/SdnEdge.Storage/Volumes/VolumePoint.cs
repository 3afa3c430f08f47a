using SdnEdge.Core.Replication;

namespace SdnEdge.Storage.Volumes;

/// <summary>A kept point of a volume: its content at one position of its log, while the image goes on.</summary>
/// <param name="Name">Its name in the volume.</param>
/// <param name="At">Where in the log: the last record that it has.</param>
/// <param name="Root">The content root there.</param>
/// <param name="Created">When it was made, wall clock.</param>
/// <param name="Group">The group whose volumes have a point of this name at one barrier; null = this volume alone.</param>
/// <param name="IsMark">An operator's: it is given up where its disk is full or fails. The others stop the volume's log from being applied
/// then.</param>
/// <param name="Bytes">What is kept of it beside the image: blocks that were overwritten since and before the next point.</param>
/// <param name="Size">The volume's size there, bytes.</param>
public sealed record VolumePoint(
    string Name, LogPoint At, ulong Root, DateTimeOffset Created, string? Group, bool IsMark, long Bytes, long Size);
