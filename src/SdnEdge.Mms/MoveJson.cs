using System.Text.Json;
using System.Text.Json.Serialization;
using SdnEdge.Core.Api;

namespace SdnEdge.Mms;

/// <summary><see cref="ApiJson"/>'s settings, with the journal's lines and a move's result.</summary>
public static class MoveJson
{
    /// <summary>The settings.</summary>
    public static readonly JsonSerializerOptions Options = ApiJson.With(MoveTypes.Default);

    /// <summary>The same, indented for people.</summary>
    public static readonly JsonSerializerOptions Indented = new(Options) { WriteIndented = true };
}

[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(JournalLine))]
[JsonSerializable(typeof(JournalEnd))]
[JsonSerializable(typeof(MoveResult))]
[JsonSerializable(typeof(Dictionary<string, IReadOnlyList<MigrationInfo>>))]
internal sealed partial class MoveTypes : JsonSerializerContext;
