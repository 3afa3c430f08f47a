using System.Text.Json;

namespace SdnEdge.Mms.Model;

/// <summary>Enums as the words that journal, API and report use: kebab case.</summary>
public static class Words
{
    /// <summary>The word.</summary>
    public static string Of(Enum value) => JsonNamingPolicy.KebabCaseLower.ConvertName(value.ToString());

    /// <summary>The word of an input in the journal.</summary>
    public static string Of(MoveInput input) => JsonNamingPolicy.KebabCaseLower.ConvertName(input.GetType().Name);
}
