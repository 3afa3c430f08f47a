using System.Text.Json;
using System.Text.Json.Serialization;
using SdnEdge.Core.Api;

namespace SdnEdge.Mms.Model;

/// <summary><see cref="ApiJson"/>'s settings, with what the journal holds.</summary>
public static class MmsJson
{
    /// <summary>The settings.</summary>
    public static readonly JsonSerializerOptions Options = Make();

    /// <summary>The same, indented for people.</summary>
    public static readonly JsonSerializerOptions Indented = new(Options) { WriteIndented = true };

    private static JsonSerializerOptions Make()
    {
        JsonSerializerOptions options = ApiJson.With(MmsTypes.Default);

        // A record with a part that this version does not know was written by a later one. Without that part the fold may be another.
        options.UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow;
        options.Converters.Add(new JsonStringEnumConverter<MoveStage>(JsonNamingPolicy.KebabCaseLower));
        options.Converters.Add(new JsonStringEnumConverter<Cutover>(JsonNamingPolicy.KebabCaseLower));
        options.Converters.Add(new JsonStringEnumConverter<MoveOutcome>(JsonNamingPolicy.KebabCaseLower));
        options.Converters.Add(new JsonStringEnumConverter<MigrationOutcome>(JsonNamingPolicy.KebabCaseLower));
        options.Converters.Add(new JsonStringEnumConverter<FenceKind>(JsonNamingPolicy.KebabCaseLower));
        options.Converters.Add(new JsonStringEnumConverter<ProtectionPolicy>(JsonNamingPolicy.KebabCaseLower));
        return options;
    }
}

[JsonSourceGenerationOptions(GenerationMode = JsonSourceGenerationMode.Metadata)]
[JsonSerializable(typeof(ManagerInput))]
[JsonSerializable(typeof(MovePlan))]
[JsonSerializable(typeof(Journal.ReplayStep))]
internal sealed partial class MmsTypes : JsonSerializerContext;
