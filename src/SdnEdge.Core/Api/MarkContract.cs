namespace SdnEdge.Core.Api;

/// <summary>A named point in time of a volume, whose content there is kept and can be read.</summary>
/// <param name="Volume">The volume.</param>
/// <param name="Name">Its name.</param>
/// <param name="Point">Where in the volume's log: the mark's own record, the same at both sites.</param>
/// <param name="At">When, wall clock of the store that made it.</param>
/// <param name="Group">The group whose volumes have a mark of this name at one barrier; null = this volume alone.</param>
/// <param name="ContentRoot">The content root there, 16 hexadecimal digits.</param>
/// <param name="Bytes">What it keeps beside the image: what was overwritten since, up to the next mark.</param>
/// <param name="Export">The name under which it is read by NBD.</param>
public sealed record MarkInfo(
    string Volume, string Name, LogPointInfo Point, DateTimeOffset At, string? Group, string ContentRoot, long Bytes, string Export);

/// <summary>Body of <c>POST /v1/volumes/{name}/marks</c>.</summary>
/// <param name="Name">1 to 63 letters, digits, dashes, dots or underscores; no mark of these volumes has it.</param>
/// <param name="With">Other volumes of this store that are marked with it at one barrier: no write of any of them comes between.</param>
/// <param name="Group">The name of that group, kept with the marks; null with other volumes: the mark's name.</param>
public sealed record MarkRequest(string Name, IReadOnlyList<string>? With = null, string? Group = null);

/// <summary><c>POST /v1/volumes/{name}/marks/{mark}/check</c>: what a mark keeps, compared with the content root that it had.</summary>
/// <param name="Volume">The volume.</param>
/// <param name="Name">The mark.</param>
/// <param name="Good">It is what the volume was.</param>
/// <param name="ContentRoot">The content root that it had, 16 hexadecimal digits.</param>
public sealed record MarkCheckInfo(string Volume, string Name, bool Good, string ContentRoot);

/// <summary>What <c>sdnedge store clone -o json</c> says.</summary>
/// <param name="Mark">The mark, as VOLUME@MARK.</param>
/// <param name="File">The raw image.</param>
/// <param name="SizeBytes">Its size.</param>
/// <param name="DataBytes">What of it is not zeros.</param>
/// <param name="ContentRoot">The content root of the mark, 16 hexadecimal digits.</param>
/// <param name="Good">What was read has it; otherwise no file is left.</param>
public sealed record CloneInfo(string Mark, string File, long SizeBytes, long DataBytes, string ContentRoot, bool Good);
